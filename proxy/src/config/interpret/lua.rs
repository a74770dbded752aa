//! What `envoy.filters.http.lua` means.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{data_source, metadata};
use crate::config::bootstrap::DataSource;
use crate::config::bootstrap::lua::{Lua as Written, LuaPerRoute};
use crate::config::error::Place;
use crate::config::lua::{Lua, Script};
use crate::config::metadata::{Metadata, Struct};
use crate::config::problem::Problem;
use crate::config::script::{Hook, Machine};
use crate::config::yaml::At;

/// Under which name routes have metadata for a filter that is called otherwise.
const TYPE_NAME: &str = "envoy.filters.http.lua";

/// A filter, before a route has its say.
pub(super) struct LuaTemplate {
    /// `None` runs nothing where a route names no script.
    default: Option<Arc<Script>>,
    pub(super) named: BTreeMap<String, Arc<Script>>,
    pub(super) stat_prefix: String,
    clears_route: bool,
    name: String,
}

/// What a level says of the filter.
pub(super) struct OfRoute {
    chosen: Chosen,
    context: Struct,
}

/// Which script runs.
enum Chosen {
    /// That of the levels above.
    Above,
    Disabled,
    Named(String),
    Own(Arc<Script>),
}

impl OfRoute {
    /// The name of the script that it chooses.
    pub(super) fn named(&self) -> Option<&str> {
        if let Chosen::Named(name) = &self.chosen { Some(name) } else { None }
    }
}

/// The filter that is called `name`.
pub(super) fn filter(written: &Written, name: &str) -> Result<LuaTemplate, Problem> {
    let default = match (&written.inline_code, &written.default_source_code) {
        (Some(inline), Some(_)) if !inline.value.is_empty() => {
            return Err(inline.invalid("takes at most one of inline_code and default_source_code"));
        }
        (Some(inline), _) if !inline.value.is_empty() => Some(script(inline)?),
        (_, source) => source.as_ref().map(read).transpose()?,
    };
    let named = |(name, source): (&String, &At<DataSource>)| Ok::<_, Problem>((name.clone(), read(source)?));
    Ok(LuaTemplate {
        default,
        named: written.source_codes.iter().map(named).collect::<Result<_, Problem>>()?,
        stat_prefix: written.stat_prefix.clone(),
        clears_route: written.clear_route_cache.unwrap_or(true),
        name: name.to_owned(),
    })
}

/// What a route says.
pub(super) fn of_route(written: &LuaPerRoute, place: &Place) -> Result<OfRoute, Problem> {
    let LuaPerRoute { disabled, filter_context, name, source_code } = written;
    let context = filter_context.as_ref().map(metadata::members).transpose()?.unwrap_or_default();
    let chosen = match (disabled, name, source_code) {
        (None, None, None) => Chosen::Above,
        (Some(disabled), None, None) if disabled.value => Chosen::Disabled,
        (Some(disabled), None, None) => return Err(disabled.invalid("must be true, or not be there")),
        (None, Some(name), None) => Chosen::Named(name.value.to_string()),
        (None, None, Some(source)) => Chosen::Own(read(source)?),
        _ => return Err(Problem::invalid(place, "takes at most one of disabled, name and source_code")),
    };
    Ok(OfRoute { chosen, context })
}

/// The filter where a route says this, and has this metadata; `None` if it runs nothing.
pub(super) fn below(own: &LuaTemplate, said: Option<&OfRoute>, metadata: Option<&Metadata>) -> Option<Arc<Lua>> {
    let script = match said.map(|said| &said.chosen) {
        None | Some(Chosen::Above) => own.default.clone(),
        Some(Chosen::Disabled) => None,
        Some(Chosen::Named(name)) => own.named.get(name).cloned(),
        Some(Chosen::Own(script)) => Some(Arc::clone(script)),
    };
    let of_route = metadata.and_then(|Metadata(all)| all.get(&own.name).or_else(|| all.get(TYPE_NAME)));
    Some(Arc::new(Lua {
        script: script?,
        stat_prefix: own.stat_prefix.clone(),
        clears_route: own.clears_route,
        metadata: of_route.cloned().unwrap_or_default(),
        context: said.map(|said| said.context.clone()).unwrap_or_default(),
    }))
}

fn read(source: &At<DataSource>) -> Result<Arc<Script>, Problem> {
    script(&data_source::text(source)?)
}

/// Loads the script once, which runs what stands outside of its functions.
fn script(code: &At<String>) -> Result<Arc<Script>, Problem> {
    // A file is read at no time of its own: the epoch.
    let machine = Machine::load(&code.value, 0.0).map_err(|why| code.invalid(format!("script load error: {why}")))?;
    Ok(Arc::new(Script {
        code: code.value.clone(),
        sees_requests: machine.has(Hook::Request),
        sees_responses: machine.has(Hook::Response),
    }))
}

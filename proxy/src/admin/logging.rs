//! `/logging`: the levels of the process log.

use http::StatusCode;

use super::{AdminResponse, AdminState, Query, TEXT, put};
use crate::process_log::{Level, LevelError, Levels};

const USAGE: &str = "\
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
levels: trace debug info warning error critical off \n";

pub(super) fn logging(query: &Query, state: &AdminState) -> AdminResponse {
    let levels = state.process_log.levels();
    let mut parameters = query.pairs();
    let changed = match (parameters.next(), parameters.next()) {
        (None, _) | (Some(("level" | "paths", "")), None) => Ok(None),
        (Some((name, value)), None) => change(&levels, name, value).map(Some),
        (Some(_), Some(_)) => Err("invalid number of parameters".to_owned()),
    };
    match changed {
        Err(error) => AdminResponse::refused(StatusCode::BAD_REQUEST, format!("error: {error}\n\n{USAGE}")),
        Ok(None) => list(&levels),
        Ok(Some(changed)) => {
            state.process_log.change(changed.clone());
            list(&changed)
        }
    }
}

fn change(levels: &Levels, name: &str, value: &str) -> Result<Levels, String> {
    if name == "group" {
        return Err("group parameter requires fine-grain logging, which is not supported".to_owned());
    }
    let changed = if name == "paths" {
        levels.with(value)
    } else {
        Level::named(value).ok_or(LevelError::UnknownLevel).and_then(|level| {
            if name == "level" {
                return Ok(Levels::all(level));
            }
            let mut changed = levels.clone();
            changed.set(name, level)?;
            Ok(changed)
        })
    };
    changed.map_err(|error| error.to_string())
}

fn list(levels: &Levels) -> AdminResponse {
    let mut out = "active loggers:\n".to_owned();
    for (name, level) in levels.iter() {
        put(&mut out, format_args!("  {name}: {level}\n"));
    }
    out.push('\n');
    AdminResponse::new(TEXT, out)
}

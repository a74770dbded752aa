//! Metadata as values of Lua, and values of Lua as metadata.

use mlua::{Lua, MultiValue, Table, Value as Scripted};

use crate::config::metadata::{Struct, Value};

/// How deep tables may lie in each other that become metadata: as deep as a configuration may.
const DEPTH_MAX: usize = 64;

/// A value for a script.
pub(super) fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<Scripted> {
    Ok(match value {
        Value::Flag(flag) => Scripted::Boolean(*flag),
        Value::List(items) => {
            let items = items.iter().map(|item| to_lua(lua, item)).collect::<mlua::Result<Vec<_>>>()?;
            Scripted::Table(lua.create_sequence_from(items)?)
        }
        Value::Null => Scripted::Nil,
        Value::Number(number) => Scripted::Number(*number),
        Value::Struct(members) => Scripted::Table(table(lua, members)?),
        Value::Text(text) => Scripted::String(lua.create_string(text)?),
    })
}

/// The members of a mapping, for a script.
pub(super) fn table(lua: &Lua, members: &Struct) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, members.len())?;
    for (key, value) in members {
        table.raw_set(key.as_str(), to_lua(lua, value)?)?;
    }
    Ok(table)
}

/// What a script leaves as metadata.
///
/// # Errors
/// Metadata has no such value, in Envoy's words.
pub(super) fn from_lua(value: &Scripted) -> Result<Value, String> {
    read(value, 0)
}

fn read(value: &Scripted, depth: usize) -> Result<Value, String> {
    if let Some(number) = number(value) {
        let is_one = number.is_finite();
        return is_one.then_some(Value::Number(number)).ok_or_else(|| "metadata has no infinite number".to_owned());
    }
    if let Scripted::Table(table) = value {
        if depth >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} tables within each other"));
        }
        return match list(table) {
            Some(items) => items.iter().map(|item| read(item, depth + 1)).collect::<Result<_, _>>().map(Value::List),
            None => members(table, depth + 1),
        };
    }
    let simple = value.as_boolean().map(Value::Flag);
    let simple = simple.or_else(|| value.as_string().map(|text| Value::Text(text.to_string_lossy())));
    let simple = simple.or_else(|| value.is_nil().then_some(Value::Null));
    simple.ok_or_else(|| format!("unexpected type '{}' in dynamicMetadata", value.type_name()))
}

/// The items, if all keys are whole numbers from 1 on; an empty table is none.
fn list(table: &Table) -> Option<Vec<Scripted>> {
    let mut last = 0.0_f64;
    for pair in table.pairs::<Scripted, Scripted>() {
        let key = number(&pair.ok()?.0).filter(|key| key.fract() == 0.0 && *key >= 1.0)?;
        last = last.max(key);
    }
    let items: Vec<Scripted> = table.sequence_values().collect::<mlua::Result<_>>().ok()?;
    // A list with holes would be as long as its largest key.
    (last > 0.0 && usize_of(last) == Some(items.len())).then_some(items)
}

fn usize_of(number: f64) -> Option<usize> {
    format!("{number:.0}").parse().ok()
}

fn members(table: &Table, depth: usize) -> Result<Value, String> {
    let mut members = Struct::new();
    for pair in table.pairs::<Scripted, Scripted>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let Scripted::String(key) = key else {
            let kind = number(&key).map_or(key.type_name(), |_| "number");
            return Err(format!("unexpected type {kind} in table key (only string keys are supported)"));
        };
        members.insert(key.to_string_lossy(), read(&value, depth)?);
    }
    Ok(Value::Struct(members))
}

/// A number; Lua knows one kind, its machine two.
pub(super) fn number(value: &Scripted) -> Option<f64> {
    if let Scripted::Integer(whole) = value {
        // Whole numbers of scripts are doubles, whatever the machine makes of them.
        return i32::try_from(*whole).map_or_else(|_| whole.to_string().parse().ok(), |small| Some(f64::from(small)));
    }
    value.as_number()
}

/// One value.
pub(super) fn one(value: Scripted) -> MultiValue {
    [value].into_iter().collect()
}

/// Bytes as a value.
pub(super) fn text(lua: &Lua, bytes: impl AsRef<[u8]>) -> Result<Scripted, String> {
    lua.create_string(bytes).map(Scripted::String).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_survives_a_script() {
        let lua = Lua::new();
        let flag = ("flag".to_owned(), Value::Flag(true));
        let list = Value::List(vec![Value::Number(1.5), Value::Text("x".to_owned())]);
        let value = Value::Struct([flag, ("list".to_owned(), list)].into());
        assert_eq!(from_lua(&to_lua(&lua, &value).unwrap()), Ok(value));
    }

    #[test]
    fn what_metadata_has_not_is_refused() {
        let lua = Lua::new();
        for (code, expected) in [
            ("function() end", "unexpected type 'function' in dynamicMetadata"),
            ("{[1.5] = 1}", "unexpected type number in table key (only string keys are supported)"),
            ("{[3] = 1}", "unexpected type number in table key (only string keys are supported)"),
            ("1/0", "metadata has no infinite number"),
            ("(function() local t = {} t[1] = t return t end)()", "more than 64 tables within each other"),
        ] {
            let value: Scripted = lua.load(format!("return {code}")).eval().unwrap();
            assert_eq!(from_lua(&value), Err(expected.to_owned()), "{code}");
        }
    }
}

//! What the prelude gives an operation.

use mlua::{MultiValue, Table, Value};

use super::values::number;

/// What an operation was given, one after the other.
pub(super) struct Arguments(MultiValue);

impl Arguments {
    pub(super) fn new(values: MultiValue) -> Self {
        Self(values)
    }

    pub(super) fn value(&mut self) -> Value {
        self.0.pop_front().unwrap_or(Value::Nil)
    }

    /// A text; none is empty.
    pub(super) fn bytes(&mut self) -> Vec<u8> {
        if let Value::String(text) = self.value() { text.as_bytes().to_vec() } else { Vec::new() }
    }

    /// As in Envoy, a name or a value ends before its first NUL.
    pub(super) fn name(&mut self) -> Vec<u8> {
        let bytes = self.bytes();
        bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
    }

    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(super) fn flag(&mut self) -> bool {
        self.value().as_boolean().unwrap_or(false)
    }

    /// A whole number from 0 on.
    pub(super) fn index(&mut self) -> Option<usize> {
        let number = number(&self.value()).filter(|number| *number >= 0.0)?;
        format!("{:.0}", number.floor()).parse().ok()
    }

    pub(super) fn table(&mut self) -> Option<Table> {
        if let Value::Table(table) = self.value() { Some(table) } else { None }
    }
}

//! The place of a [`Node`] in its document while it is decoded. How it becomes a message is in [`decode`](super::decode()).

use super::place::{Notes, Path};
use super::{Node, Value};
use crate::config::error::{Cause, Place};
use crate::config::problem::Problem;

/// A node, and how decoding got there.
#[derive(Clone, Copy)]
pub(super) struct Decoder<'de, 'p> {
    pub(super) node: &'de Node,
    pub(super) path: Path<'p>,
    pub(super) notes: &'p Notes,
    /// The node has been chosen by its `@type`, which stands among its fields.
    pub(super) is_typed: bool,
    /// The field is optional, so that a number or a flag may stand in a message of its own, as in
    /// `google.protobuf.UInt32Value`.
    may_be_wrapped: bool,
}

impl<'de, 'p> Decoder<'de, 'p> {
    /// For the whole document.
    pub(super) fn root(node: &'de Node, notes: &'p Notes) -> Self {
        Self { node, path: Path::Root, notes, is_typed: false, may_be_wrapped: false }
    }

    /// The same for a node inside this one.
    pub(super) fn child<'c>(&self, node: &'de Node, path: Path<'c>) -> Decoder<'de, 'c>
    where
        'p: 'c,
    {
        Decoder { node, path, notes: self.notes, is_typed: false, may_be_wrapped: false }
    }

    /// The same, of a node that has been chosen by its type.
    pub(super) fn typed(self) -> Self {
        Self { is_typed: true, ..self }
    }

    /// The same, of the value of an optional field.
    pub(super) fn optional(self) -> Self {
        Self { may_be_wrapped: true, ..self }
    }

    /// The value at this node.
    pub(super) fn value(&self) -> &'de Value {
        &self.node.value
    }

    pub(super) fn place(&self) -> Place {
        Place { path: self.path.to_string(), at: Some(self.node.at) }
    }

    /// The node's value is of another kind than `expected`.
    pub(super) fn mismatch(&self, expected: &str) -> Problem {
        let found = self.node.value.describe();
        Problem::at(&self.place(), Cause::WrongType { expected: expected.to_owned(), found })
    }

    /// The scalar at this node, or the one that it wraps as `{value: ...}`.
    pub(super) fn scalar(&self) -> &'de Value {
        let Value::Map(entries) = &self.node.value else { return &self.node.value };
        match entries.as_slice() {
            [entry] if self.may_be_wrapped && entry.key == "value" => &entry.value.value,
            _ => &self.node.value,
        }
    }
}

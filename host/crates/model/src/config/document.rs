//! A TOML document that somebody hostile may have written.

use std::ops::Deref;

use toml::de::{DeTable, DeValue, Error};

/// A parsed document. The parser bounds the parts of a key and the nesting of inline tables, but not their product: a
/// value can lie thousands of tables deep. Therefore this is taken apart without recursion when it is dropped.
#[derive(Debug)]
pub(super) struct Document<'t>(DeTable<'t>);

impl<'t> Document<'t> {
    /// Parses a document; the error is the first one.
    pub(super) fn parse(text: &'t str) -> Result<Self, Error> {
        // The plain `DeTable::parse` would drop what it has of a faulty document by itself.
        let (table, errors) = DeTable::parse_recoverable(text);
        let document = Self(table.into_inner());
        errors.into_iter().next().map_or(Ok(document), Err)
    }
}

impl<'t> Deref for Document<'t> {
    type Target = DeTable<'t>;

    fn deref(&self) -> &DeTable<'t> {
        &self.0
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        let mut rest = vec![DeValue::Table(std::mem::take(&mut self.0))];
        while let Some(value) = rest.pop() {
            match value {
                DeValue::Table(table) => rest.extend(table.into_iter().map(|(_, value)| value.into_inner())),
                DeValue::Array(items) => rest.extend(items.into_iter().map(toml::Spanned::into_inner)),
                _ => {}
            }
        }
    }
}

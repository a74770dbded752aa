//! The width of a column in a table of text.

/// Cells that are longer stand out to the right. A format string takes no width above `u16::MAX`, and names in a
/// scenario may have any length.
const WIDTH_MAX: usize = 200;

/// Bytes of the longest text.
pub(crate) fn width<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(str::len).max().unwrap_or_default().min(WIDTH_MAX)
}

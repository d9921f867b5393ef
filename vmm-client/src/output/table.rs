//! Aligned columns.

use std::fmt;

use super::escape::on_one_line;

/// To which side of its column a cell goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns. A table whose headings are all empty is shown without them.
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with one cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: &[String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.iter().map(|cell| on_one_line(cell)).collect());
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or_default();
        widest.max(self.columns[column].0.len())
    }

    fn write<'c>(
        &self,
        f: &mut fmt::Formatter<'_>,
        cells: impl Iterator<Item = &'c str>,
        widths: &[usize],
    ) -> fmt::Result {
        let mut line = String::new();
        for ((cell, width), (_, side)) in cells.zip(widths).zip(&self.columns) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            match side {
                Side::Left => line.extend([cell, &blanks]),
                Side::Right => line.extend([blanks.as_str(), cell]),
            }
        }
        writeln!(f, "{}", line.trim_end())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<_> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        if self.columns.iter().any(|(heading, _)| !heading.is_empty()) {
            self.write(f, self.columns.iter().map(|(heading, _)| *heading), &widths)?;
        }
        self.rows.iter().try_for_each(|row| self.write(f, row.iter().map(String::as_str), &widths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("NAME", Side::Left), ("MIB", Side::Right), ("", Side::Left)]);
        table.row(&["dev/hello".to_owned(), "512".to_owned(), "x\ny".to_owned()]);
        table.row(&["ä".to_owned(), "16384".to_owned(), String::new()]);
        let expected = "\
NAME         MIB
dev/hello    512  x\\ny
ä          16384
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_without_headings_is_its_rows() {
        let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
        table.row(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(table.to_string(), "a  b\n");
    }
}

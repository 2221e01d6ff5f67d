//! Aligned columns.

use std::fmt;

use crate::units::printable;

/// Rows of cells; every cell is escaped, since names are data.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// What stands instead of no rows.
    empty: &'static str,
}

struct Column {
    title: &'static str,
    right: bool,
}

impl Table {
    /// A table with these columns; titles that begin with `>` are of columns aligned right.
    pub(super) fn new(titles: &[&'static str], empty: &'static str) -> Self {
        let column = |title: &&'static str| match title.strip_prefix('>') {
            Some(title) => Column { title, right: true },
            None => Column { title, right: false },
        };
        Self { columns: titles.iter().map(column).collect(), rows: Vec::new(), empty }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return writeln!(f, "{}", self.empty);
        }
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| length(cell));
            cells.chain([length(self.columns[at].title)]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let titles: Vec<&str> = self.columns.iter().map(|column| column.title).collect();
        writeln!(f, "\u{1b}[1m{}\u{1b}[0m", self.line(&titles, &widths))?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            writeln!(f, "{}", self.line(&cells, &widths))?;
        }
        Ok(())
    }
}

impl Table {
    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
            let room = " ".repeat(width.saturating_sub(length(cell)));
            let (before, after) =
                if column.right { (room.as_str(), "") } else { ("", room.as_str()) };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_names_escaped() {
        let mut table = Table::new(&["NAME", ">SIZE"], "none");
        table.row(["a\u{1b}[2J".into(), "5 B".into()]);
        table.row(["Kiosk-Süd".into(), "12.3 MB".into()]);
        let expected = concat!(
            "\u{1b}[1mNAME           SIZE\u{1b}[0m\n",
            "a\\u{1b}[2J      5 B\n",
            "Kiosk-Süd   12.3 MB\n",
        );
        assert_eq!(table.to_string(), expected);
        assert_eq!(Table::new(&["NAME"], "no groups yet").to_string(), "no groups yet\n");
    }
}

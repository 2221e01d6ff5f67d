//! Aligned columns, as wide as the terminal lets them be.
//!
//! Nothing is cut off. Where a table does not fit, its longest texts go on in further
//! lines; then columns that can be missed are left out, and the last line says which;
//! then each row becomes a block of lines. What is no terminal gets one line per row.

use std::fmt;
use std::ops::Range;

use super::screen;
use crate::units::printable;

/// What stands between columns.
const GAP: usize = 2;

/// Rows of cells; every cell is escaped, since names are data.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    /// What stands instead of no rows.
    empty: &'static str,
}

#[derive(Clone, Copy)]
struct Column {
    title: &'static str,
    right: bool,
    /// It may be left out where there is no room.
    spare: bool,
}

/// Columns that are shown, by their places, each with its width.
type Layout = Vec<(usize, usize)>;

impl Table {
    /// A table with these columns. Titles that begin with `>` are of columns aligned right;
    /// before that, `?` says that a narrow terminal can do without the column.
    pub(super) fn new(titles: &[&'static str], empty: &'static str) -> Self {
        let column = |written: &&'static str| {
            let rest = written.strip_prefix('?').unwrap_or(written);
            let title = rest.strip_prefix('>').unwrap_or(rest);
            Column { title, right: title.len() < rest.len(), spare: rest.len() < written.len() }
        };
        Self { columns: titles.iter().map(column).collect(), rows: Vec::new(), empty }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }

    /// The table in so many columns of a terminal, or as wide as it is.
    fn fitted(&self, room: Option<usize>) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut left_out = Vec::new();
        loop {
            if let Some(layout) = self.layout(&shown, room) {
                return self.lines(&layout, &left_out);
            }
            // The last ones matter least.
            match shown.iter().rposition(|at| self.columns[*at].spare) {
                Some(place) => left_out.insert(0, self.columns[shown.remove(place)].title),
                None => return self.blocks(),
            }
        }
    }

    /// Widths with which these columns fit, if there are such.
    fn layout(&self, shown: &[usize], room: Option<usize>) -> Option<Layout> {
        let widest = |at: usize, width: fn(&str) -> usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(at)).map(|cell| width(cell));
            cells.chain([length(self.columns[at].title)]).max().unwrap_or(0)
        };
        let mut layout: Layout = shown.iter().map(|at| (*at, widest(*at, length))).collect();
        let Some(room) = room else { return Some(layout) };
        let named = shown.iter().find(|at| !self.columns[**at].right);
        // Names and numbers stay in one piece.
        let least = |&(at, width): &(usize, usize)| {
            let whole = self.columns[at].right || Some(&at) == named;
            if whole { width } else { widest(at, longest_piece) }
        };
        let least: Vec<usize> = layout.iter().map(least).collect();
        let gaps = GAP * shown.len().saturating_sub(1);
        loop {
            let total = gaps + layout.iter().map(|(_, width)| width).sum::<usize>();
            if total <= room {
                return Some(layout);
            }
            let pliable =
                layout.iter_mut().zip(&least).filter(|(column, least)| column.1 > **least);
            pliable.max_by_key(|(column, _)| column.1)?.0.1 -= 1;
        }
    }

    fn lines(&self, layout: &Layout, left_out: &[&str]) -> String {
        let titles: Vec<&str> = layout.iter().map(|(at, _)| self.columns[*at].title).collect();
        let mut text = format!("\u{1b}[1m{}\u{1b}[0m\n", self.line(&titles, layout));
        for row in &self.rows {
            let cell = |at: usize| row.get(at).map_or("", String::as_str);
            let wrapped: Vec<_> =
                layout.iter().map(|(at, width)| wrapped(cell(*at), *width)).collect();
            for number in 0..wrapped.iter().map(Vec::len).max().unwrap_or(0) {
                let cells = wrapped.iter().map(|cell| cell.get(number).copied().unwrap_or(""));
                text.push_str(&self.line(&cells.collect::<Vec<_>>(), layout));
                text.push('\n');
            }
        }
        if !left_out.is_empty() {
            text.push_str(&format!("(without {}: no room)\n", left_out.join(", ")));
        }
        text
    }

    fn line(&self, cells: &[&str], layout: &Layout) -> String {
        let mut line = String::new();
        for (cell, (at, width)) in cells.iter().zip(layout) {
            let room = " ".repeat(width.saturating_sub(length(cell)));
            let (before, after) =
                if self.columns[*at].right { (room.as_str(), "") } else { ("", room.as_str()) };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str(&" ".repeat(GAP));
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// A block for each row: the title and the cell, line by line.
    fn blocks(&self) -> String {
        let widest = self.columns.iter().map(|column| length(column.title)).max().unwrap_or(0);
        let block = |row: &Vec<String>| {
            let cells = self.columns.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
            let line = |(column, cell): (&Column, &String)| {
                let gap = " ".repeat(widest - length(column.title) + GAP);
                format!("\u{1b}[1m{}\u{1b}[0m{gap}{cell}\n", column.title)
            };
            cells.map(line).collect::<String>()
        };
        self.rows.iter().map(block).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fitted(screen::width()))
    }
}

/// A text in lines of at most `width`, broken between its pieces.
fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let mut lines: Vec<Range<usize>> = Vec::new();
    for piece in pieces(text) {
        match lines.last_mut() {
            Some(line) if length(text[line.start..piece.end].trim_end()) <= width => {
                line.end = piece.end;
            }
            _ => lines.push(piece),
        }
    }
    lines.into_iter().map(|line| text[line].trim_end()).collect()
}

fn longest_piece(text: &str) -> usize {
    pieces(text).map(|piece| length(text[piece].trim_end())).max().unwrap_or(0)
}

/// Where a text may be broken: after spaces; in a time, between day and hour; in an
/// address, before its port.
fn pieces(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_end = move |at: usize| {
        let (before, after) = text.split_at(at);
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        before.ends_with(' ') && !after.starts_with(' ')
            || before.ends_with('T') && is_day(before) && after.ends_with('Z')
            || before.ends_with(':') && digits(after)
    };
    let ends = text.char_indices().map(|(at, _)| at).filter(move |at| *at > 0 && is_end(*at));
    let ends = ends.chain([text.len()]);
    ends.scan(0, |start, end| Some(std::mem::replace(start, end)..end))
}

/// Whether a text ends like the day of a time, `2026-11-22T`.
fn is_day(text: &str) -> bool {
    let day = text.len().checked_sub("2026-11-22T".len()).and_then(|start| text.get(start..));
    day.is_some_and(|day| day.bytes().filter(u8::is_ascii_digit).count() == 8)
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows of it: without the bold of titles.
    fn plain(table: &Table, room: Option<usize>) -> String {
        table.fitted(room).replace("\u{1b}[1m", "").replace("\u{1b}[0m", "")
    }

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
        assert_eq!(table.fitted(None), expected);
        assert_eq!(Table::new(&["NAME"], "no groups yet").fitted(None), "no groups yet\n");
    }

    fn receivers() -> Table {
        let titles = ["RECEIVER", "STATE", ">FREE", "?ADDRESS", "LAST SEEN", "GROUPS"];
        let mut table = Table::new(&titles, "none");
        let [address, seen] = ["192.0.2.7:54115", "2026-11-22T03:56:03Z"].map(str::to_owned);
        let groups = "kiosks, lobby, north 2".to_owned();
        table.row(["kiosk-1".into(), "active".into(), "57.8 GB".into(), address, seen, groups]);
        table
    }

    #[test]
    fn what_is_too_wide_goes_on_in_further_lines_and_is_whole() {
        let table = receivers();
        let wide = concat!(
            "RECEIVER  STATE      FREE  ADDRESS          LAST SEEN             GROUPS\n",
            "kiosk-1   active  57.8 GB  192.0.2.7:54115  2026-11-22T03:56:03Z  ",
            "kiosks, lobby, north 2\n",
        );
        assert_eq!(plain(&table, None), wide);
        assert_eq!(plain(&table, Some(88)), wide, "it fits exactly");
        let narrow = concat!(
            "RECEIVER  STATE      FREE  ADDRESS     LAST SEEN    GROUPS\n",
            "kiosk-1   active  57.8 GB  192.0.2.7:  2026-11-22T  kiosks,\n",
            "                           54115       03:56:03Z    lobby,\n",
            "                                                    north 2\n",
        );
        assert_eq!(plain(&table, Some(60)), narrow);
    }

    #[test]
    fn where_there_is_no_room_columns_go_and_then_rows_become_blocks() {
        let table = receivers();
        let without = concat!(
            "RECEIVER  STATE      FREE  LAST SEEN    GROUPS\n",
            "kiosk-1   active  57.8 GB  2026-11-22T  kiosks,\n",
            "                           03:56:03Z    lobby,\n",
            "                                        north 2\n",
            "(without ADDRESS: no room)\n",
        );
        assert_eq!(plain(&table, Some(50)), without);
        let blocks = concat!(
            "RECEIVER   kiosk-1\n",
            "STATE      active\n",
            "FREE       57.8 GB\n",
            "ADDRESS    192.0.2.7:54115\n",
            "LAST SEEN  2026-11-22T03:56:03Z\n",
            "GROUPS     kiosks, lobby, north 2\n",
        );
        assert_eq!(plain(&table, Some(40)), blocks);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_names_stay_in_one_piece() {
        let mut table = Table::new(&["NAME", "WHAT TO DO", ">N"], "none");
        table.row(["two words".into(), "look at it, then look again".into(), "1 000".into()]);
        table.row(["\u{1b}[2J".into(), "ü".repeat(9), "2".into()]);
        for room in 28..60 {
            let shown = plain(&table, Some(room));
            assert!(shown.lines().all(|line| length(line) <= room), "{room}:\n{shown}");
            assert!(shown.contains("two words") && shown.contains("\\u{1b}[2J"), "{shown}");
            assert!(shown.contains("1 000"), "{shown}");
            let words = shown.split_whitespace().filter(|word| *word == "look").count();
            assert_eq!(words, 2, "{shown}");
        }
    }
}

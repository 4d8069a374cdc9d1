//! Columns for people, as kubectl prints them.

/// A table whose columns are as wide as their widest cell.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()] }
    }

    /// Adds a row; an empty cell shows as `-`, a control character as `?`.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        let shown = |cell: String| {
            let cell = if cell.is_empty() { "-".to_owned() } else { cell };
            cell.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// The table's text; empty without rows.
    pub(super) fn text(&self) -> String {
        if self.rows.len() == 1 {
            return String::new();
        }
        let columns = self.rows[0].len();
        let width =
            |i: usize| self.rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
        let widths: Vec<_> = (0..columns).map(|i| width(i).unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("   ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_cell_controls_the_terminal() {
        let mut table = Table::new(&["NAME", "X"]);
        assert_eq!(table.text(), "");
        table.row(vec!["a\x1b[2J".into(), String::new()]);
        assert_eq!(table.text(), "NAME    X\na?[2J   -\n");
    }
}

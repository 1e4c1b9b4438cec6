//! A table in Markdown that can be read in a terminal too. Cells are safe text already.

use std::fmt::Write as _;

use super::text::{WIDTH, cut, width};

/// The last column is never squeezed below this.
const LEAST_TEXT: usize = 24;

/// Which side of its column a cell stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Writes a table; a cell of the last column gives way where the line would be too wide.
pub(super) fn grid<const N: usize>(
    out: &mut String,
    heads: [(&str, Side); N],
    rows: &[[String; N]],
) {
    let mut widths = heads.map(|(head, _)| width(head));
    for row in rows {
        for (w, cell) in widths.iter_mut().zip(row) {
            *w = (*w).max(width(cell));
        }
    }
    let rest = |widths: &[usize; N]| widths[..N - 1].iter().sum::<usize>() + 3 * N + 1;
    // Columns of text before the last give way only when the last cannot.
    while rest(&widths) + LEAST_TEXT.min(widths[N - 1]) > WIDTH {
        let Some(widest) = (0..N - 1).max_by_key(|column| widths[*column]) else { break };
        if widths[widest] <= LEAST_TEXT {
            break;
        }
        widths[widest] -= 1;
    }
    let fixed = rest(&widths);
    widths[N - 1] = widths[N - 1].clamp(3, WIDTH.saturating_sub(fixed).max(3));
    let line = |out: &mut String, cells: [&str; N]| {
        for ((cell, w), (_, side)) in cells.iter().zip(widths).zip(heads) {
            let cell = cut(cell, w);
            let pad = " ".repeat(w.saturating_sub(width(&cell)));
            let _ = match side {
                Side::Right => write!(out, "| {pad}{cell} "),
                Side::Left => write!(out, "| {cell}{pad} "),
            };
        }
        out.push_str("|\n");
    };
    line(out, heads.map(|(head, _)| head));
    for (w, (_, side)) in widths.iter().zip(heads) {
        let dashes = "-".repeat(w + 1);
        let _ = match side {
            Side::Right => write!(out, "|{dashes}:"),
            Side::Left => write!(out, "|:{dashes}"),
        };
    }
    out.push_str("|\n");
    for row in rows {
        line(out, row.each_ref().map(String::as_str));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_their_width() {
        let mut out = String::new();
        let rows = [["日本".to_owned(), "1".to_owned()], ["a".to_owned(), "222".to_owned()]];
        grid(&mut out, [("n", Side::Left), ("v", Side::Right)], &rows);
        let expected = "| n    |   v |\n|:-----|----:|\n| 日本 |   1 |\n| a    | 222 |\n\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn wide_cells_give_way() {
        let long = "x".repeat(300);
        let mut out = String::new();
        let heads = [("a", Side::Left), ("b", Side::Left), ("c", Side::Left)];
        grid(&mut out, heads, &[[long.clone(), long.clone(), long]]);
        assert!(out.lines().all(|line| width(line) <= WIDTH), "{out}");
    }
}

//! Texts of statements, for queryids that are new. It must never let a text out that the server did not
//! normalise and that may hold a literal: passwords are literals.

use std::collections::HashSet;

use pgrx::pg_sys;

use super::{ProbeError, statements};
use crate::pg::fmgr::{self, WithoutEncoding};
use crate::pg::parse::{self, Shape};

/// The longest text that is kept, bytes.
const LONGEST: usize = 64 * 1024;

/// What is known of a statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatementText {
    pub(crate) queryid: i64,
    /// SELECT, INSERT, CREATE INDEX, …
    pub(crate) command: String,
    /// `None` where it must not or cannot be kept; then `note` says why.
    pub(crate) query: Option<String>,
    pub(crate) note: Option<&'static str>,
}

/// Reads the texts of the wanted queryids, those that this database's entries still have.
pub(crate) fn texts(wanted: &[i64]) -> Result<Vec<StatementText>, ProbeError> {
    let raw = collect(wanted)?;
    Ok(raw.into_iter().map(|(queryid, text)| judge(queryid, &text)).collect())
}

fn collect(wanted: &[i64]) -> Result<Vec<(i64, Vec<u8>)>, ProbeError> {
    let source = statements::source()?;
    let mut set = {
        // One text that is not valid in this database's encoding would fail the whole call.
        let _bytes = WithoutEncoding::begin();
        source.rows(true)?
    };
    let [Some(dbid), Some(queryid), Some(query)] =
        ["dbid", "queryid", "query"].map(|name| set.position(name))
    else {
        return Err(ProbeError::unexpected("pg_stat_statements lacks a column"));
    };
    if set.attributes()[query].type_oid != pg_sys::TEXTOID {
        return Err(ProbeError::unexpected("pg_stat_statements has texts of another type"));
    }
    // SAFETY: set once, when this process connected to its database.
    let own = unsafe { pg_sys::MyDatabaseId }.to_u32();
    let mut open: HashSet<i64> = wanted.iter().copied().collect();
    let mut found = Vec::new();
    while let Some(row) = set.next_row() {
        let Some(id) = row.int8(queryid) else {
            continue;
        };
        if row.oid(dbid) != Some(own) || !open.contains(&id) {
            continue;
        }
        // SAFETY: the type was just looked at.
        if let Some(text) = unsafe { row.bytes(query) } {
            open.remove(&id);
            found.push((id, text.to_vec()));
        }
    }
    Ok(found)
}

/// Decides what is kept of one text.
fn judge(queryid: i64, bytes: &[u8]) -> StatementText {
    let keyword = first_keyword(bytes);
    let without = |command, note| StatementText { queryid, command, query: None, note: Some(note) };
    if !fmgr::is_well_encoded(bytes) {
        return without(keyword, "badly encoded");
    }
    let (command, query) = match parse::shape(bytes) {
        Shape::Optimizable { command, literal: false } => (command, fmgr::utf8(bytes)),
        Shape::Optimizable { command, literal: true } => return without(command, "redacted"),
        Shape::Call { procedure } => {
            let query = Some(format!("CALL {procedure}(…)"));
            return StatementText {
                queryid,
                command: "CALL".into(),
                query,
                note: Some("redacted"),
            };
        }
        Shape::Utility { command, open: true } if !may_hold_literal(bytes) => {
            (command, fmgr::utf8(bytes))
        }
        Shape::Utility { command, .. } => {
            let query = Some(command.clone());
            return StatementText { queryid, command, query, note: Some("redacted") };
        }
        // The server puts $1 where the grammar wants a literal, so a normalised text need not parse.
        Shape::Unreadable if is_normalised(bytes, &keyword) || is_masked_setting(bytes) => {
            (keyword, fmgr::utf8(bytes))
        }
        Shape::Unreadable => return without(keyword, "redacted"),
    };
    let (query, note) = shorten(query);
    StatementText { queryid, command, query: Some(query), note }
}

/// Every literal that is not a number has a quote or a dollar sign, in whatever form it is written.
fn may_hold_literal(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'\'' | b'$'))
}

/// A text that does not parse is taken for a normalised query if it looks like one throughout: a
/// command that the server normalises, a parameter, and no quote.
fn is_normalised(text: &[u8], keyword: &str) -> bool {
    let commands = ["SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE"];
    let parameter = text.windows(2).any(|pair| pair[0] == b'$' && pair[1].is_ascii_digit());
    commands.contains(&keyword) && parameter && !text.contains(&b'\'')
}

/// From 18 on SET is normalised as well, to what does not parse: all that stands behind the name of the setting must be
/// parameters.
pub(super) fn is_masked_setting(text: &[u8]) -> bool {
    let Some((head, values)) = str::from_utf8(text).ok().and_then(|text| text.split_once('$'))
    else {
        return false;
    };
    let mut words = head.trim_end().strip_suffix('=').unwrap_or(head).split_ascii_whitespace();
    let is = |word: Option<&str>, what: &str| word.is_some_and(|w| w.eq_ignore_ascii_case(what));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let starts = is(words.next(), "SET");
    let mut rest: Vec<&str> = words.collect();
    if is(rest.last().copied(), "TO") {
        rest.pop();
    } else if !head.trim_end().ends_with('=') {
        return false;
    }
    if is(rest.first().copied(), "LOCAL") || is(rest.first().copied(), "SESSION") {
        rest.remove(0);
    }
    let [name] = rest[..] else { return false };
    starts
        && name.chars().all(plain)
        && values.chars().all(|c| c.is_ascii_digit() || "$, ".contains(c))
}

/// The first word, for display only.
fn first_keyword(text: &[u8]) -> String {
    let start = text.iter().position(u8::is_ascii_alphabetic).unwrap_or(text.len());
    text[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .take(32)
        .map(|byte| char::from(byte.to_ascii_uppercase()))
        .collect()
}

fn shorten(mut query: String) -> (String, Option<&'static str>) {
    if query.len() <= LONGEST {
        return (query, None);
    }
    query.truncate(query.floor_char_boundary(LONGEST));
    (query, Some("truncated"))
}

//! Results that are read whole, or counted through: those without limit that grow with the table, and OFFSET,
//! which reads what it skips.

use super::{Hint, Look, OFFSET, UNLIMITED, product};
use crate::capture::scan::{Kind, Slot};
use crate::detect::{per_hour, words};
use crate::facts::evidence::ENOUGH;
use crate::facts::{Offset, Order, Returned, Shape, Statement, Table, TableUse, Test};
use crate::finding::{Effort, Evidence};
use crate::threshold::Threshold;

pub(super) const GROWN: Threshold = Threshold::new(
    "rewrite_growing_ratio",
    1.5,
    "Rows per execution at the end of the history over those at its beginning from which a result without limit grows.",
    "pg_perfmon: half as much again is no chance when each quarter of the history has more",
);
/// Rows of an execution from which a result without limit is worth a look at its history.
pub const MANY_ROWS: Threshold = Threshold::new(
    "rewrite_growing_min_rows",
    1_000.0,
    "Rows per execution below which a result without limit may grow.",
    "pg_perfmon: nobody reads more on a page",
);
pub(super) const CALLS: Threshold = Threshold::new(
    "rewrite_growing_min_calls",
    5.0,
    "Executions in each quarter of the history below which the rows of an execution say too little.",
    "pg_perfmon: a mean of fewer is one accident",
);
pub(super) const HOURS: Threshold = Threshold::new(
    "rewrite_growing_min_hours",
    24.0,
    "Recorded hours of history below which a result is not said to grow.",
    "pg_perfmon: a day, so that the hours of a day are no growth",
);
pub(super) const BLOCKS_PER_ROW: Threshold = Threshold::new(
    "rewrite_offset_blocks_per_row",
    10.0,
    "Blocks per row returned from which OFFSET reads mostly what it skips.",
    "pg_perfmon: a row that is found by an index takes at most that",
);
pub(super) const SKIPPED: Threshold = Threshold::new(
    "rewrite_offset_min_rows",
    1_000.0,
    "Rows that an OFFSET must skip to be deep, by its constant or as executions showed it.",
    "pg_perfmon: so few are skipped within a millisecond",
);

pub(super) fn hints<'a>(look: &Look<'a>, s: &'a Statement, found: &mut Vec<Hint<'a>>) {
    let Some(shape) = s.shape.as_ref().filter(|_| s.command.as_deref() == Some("SELECT")) else {
        return;
    };
    found.extend(offset(look, s, shape));
    found.extend(unlimited(look, s, shape));
}

/// Whether the history of a statement's rows tells something: it has no limit, and returns many.
pub fn may_grow(s: &Statement, many: f64) -> bool {
    let open = |shape: &Shape| !shape.bounded && !shape.aggregates && !shape.tables.is_empty();
    s.toplevel
        && s.command.as_deref() == Some("SELECT")
        && s.shape.as_ref().is_some_and(open)
        && s.per_call(s.rows).is_some_and(|rows| rows >= many)
}

fn unlimited<'a>(look: &Look<'a>, s: &'a Statement, shape: &'a Shape) -> Option<Hint<'a>> {
    let hours = look.facts.history.hours()?;
    if !may_grow(s, look.t.of(&MANY_ROWS)) || hours < look.t.of(&HOURS) {
        return None;
    }
    let (first, last) = growth(&s.returned, look.t.of(&CALLS))?;
    let ratio = last / first;
    if ratio < look.t.of(&GROWN) {
        return None;
    }
    let oids: Vec<u32> = shape.tables.iter().map(|one| one.oid).collect();
    let (table, rows) = look.large(&oids)?;
    let keyset = keyset(look, shape).map(|page| page.sql);
    let ordered = match keyset.is_some() {
        true => {
            "Read it page by page: the first with LIMIT alone, each further one from the last row that was read on."
        }
        false => "Order it, and read it page by page with LIMIT.",
    };
    let mut evidence = vec![
        Evidence::new("rows_per_call_growth_ratio", ratio, "ratio").over(look.t.of(&GROWN)),
        Evidence::new("rows_per_call_first", first, "rows"),
        Evidence::new("rows_per_call_last", last, "rows"),
    ];
    evidence.extend(look.evidence(s, Some((table, rows))));
    let returned = s.per_call(s.rows).unwrap_or(0.0);
    Some(Hint {
        kind: UNLIMITED,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        subject: String::new(),
        expression: shape.result.clone(),
        better: keyset,
        same_meaning: false,
        reason: "The rows come in pages; whoever needs all of them reads all pages.".to_owned(),
        title: format!(
            "Statement {} has no limit, and its result grew from {} to {} rows",
            s.statement_id,
            words::number(first),
            words::number(last)
        ),
        cause: "The result has no limit and grows with the table: time, memory of the client and of the network grow with it.",
        remedy: ordered.to_owned(),
        sql: None,
        saved_ms_per_hour: None,
        effect: format!(
            "A page of 100 rows in place of {} per execution.",
            words::amount(returned, "row")
        ),
        evidence,
        effort: Effort::High,
    })
}

/// Rows of an execution in the first and the last stretch of history, if none returned fewer than the one
/// before it.
fn growth(returned: &[Returned], calls: f64) -> Option<(f64, f64)> {
    #[allow(clippy::cast_precision_loss)]
    let enough = returned.len() >= 3 && returned.iter().all(|one| one.calls as f64 >= calls);
    let rows: Option<Vec<f64>> = returned.iter().map(Returned::per_call).collect();
    let rows = rows.filter(|_| enough)?;
    let rises = rows.windows(2).all(|pair| pair[1] >= pair[0]);
    let (first, last) = (*rows.first()?, *rows.last()?);
    (rises && first > 0.0).then_some((first, last))
}

/// Rows that OFFSET skipped in an execution, on average over those that were looked into; `None` if too few were.
#[allow(clippy::cast_precision_loss)]
fn skipped(look: &Look<'_>, s: &Statement) -> Option<f64> {
    let own = look.facts.evidence.iter().flatten().filter(|e| {
        e.statement_id == s.statement_id
            && e.statement_samples >= ENOUGH
            && e.kind() == Some(Kind::Limit)
    });
    let each = own.filter_map(|e| Some(e.per_call(Slot::Read)? - e.per_call(Slot::Kept)?));
    // Only where it skips more than it leaves it is told at all.
    each.reduce(f64::max).or_else(|| product::is_looked_into(look, s).then_some(0.0))
}

/// What is known of an OFFSET that is deep.
struct Deep<'a> {
    offset: &'a Offset,
    /// Rows that it skips, where that is known.
    skipped: Option<f64>,
    blocks: f64,
    /// Rows of an execution.
    rows: f64,
    /// The table that its query reads in order, if it is one.
    sorted: Option<&'a TableUse>,
}

/// An OFFSET that skips many rows: by its constant, by what executions skipped, or, at the top of a statement, by the
/// blocks that each row takes. What a query within the statement skips is lost among all that the others read.
fn deep<'a>(look: &Look<'a>, s: &'a Statement, shape: &'a Shape) -> Option<Deep<'a>> {
    let offset = shape.offset.as_ref()?;
    #[allow(clippy::cast_precision_loss)]
    let skipped = offset.rows.map(|rows| rows as f64).or_else(|| skipped(look, s));
    let blocks = look.blocks(s)?;
    // A page that is empty was read for nothing too.
    let rows = s.per_call(s.rows)?;
    let is_deep = skipped.map_or(!offset.inside, |rows| rows >= look.t.of(&SKIPPED));
    let costly = offset.inside
        || (!shape.aggregates && blocks / rows.max(1.0) >= look.t.of(&BLOCKS_PER_ROW));
    let own = shape.tables.iter().filter(|one| !offset.inside || offset.tables.contains(&one.oid));
    let mut sorted = own.filter(|one| !one.order_by.is_empty());
    let sorted = sorted.next().filter(|_| sorted.next().is_none());
    (is_deep && costly).then_some(Deep { offset, skipped, blocks, rows, sorted })
}

fn offset<'a>(look: &Look<'a>, s: &'a Statement, shape: &'a Shape) -> Option<Hint<'a>> {
    let deep = deep(look, s, shape)?;
    let Deep { offset, skipped, blocks, rows, sorted } = deep;
    let all: Vec<u32> = shape.tables.iter().map(|one| one.oid).collect();
    let oids = if offset.inside { &offset.tables } else { &all };
    let (table, table_rows) = look.large(oids)?;
    // A row of one table is several of a join, which its key does not tell apart.
    let page = sorted.filter(|_| oids.len() == 1).and_then(|one| page(look, shape, one));
    let indexed = page.as_ref().is_none_or(|page| page.indexed);
    let (saved, effect) = saved(look, s, &deep, indexed);
    let place = if offset.inside { ", in the query that skips them" } else { "" };
    let remedy = match &page {
        Some(page) if !page.indexed => format!(
            "Make an index that has the rows in the order of the page, behind the columns that are compared with one value: without \
             it all rows are sorted for each page. Then begin each page behind the last row of the one before, by one more \
             condition in place of OFFSET{place}."
        ),
        Some(_) => format!(
            "Begin each page behind the last row of the one before, by one more condition in place of OFFSET{place}."
        ),
        None => format!(
            "Order by columns of one table that end with its primary key, and begin each page behind the last row of the one \
             before{place}."
        ),
    };
    let per_row = blocks / rows.max(1.0);
    let mut evidence = match skipped {
        Some(skipped) => {
            vec![Evidence::new("rows_skipped_per_call", skipped, "rows").over(look.t.of(&SKIPPED))]
        }
        None => Vec::new(),
    };
    let title = match skipped.filter(|_| offset.inside) {
        Some(skipped) => format!(
            "Statement {} skips {} by OFFSET within it",
            s.statement_id,
            words::amount(skipped.round(), "row")
        ),
        None => {
            let limit = look.t.of(&BLOCKS_PER_ROW);
            evidence.push(Evidence::new("blocks_per_row", per_row, "blocks").over(limit));
            format!(
                "Statement {} skips rows by OFFSET, and reads {} for each row that it returns",
                s.statement_id,
                words::amount(per_row, "block")
            )
        }
    };
    evidence.extend(look.evidence(s, Some((table, table_rows))));
    Some(Hint {
        kind: OFFSET,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        subject: String::new(),
        expression: written(offset, sorted.filter(|_| oids.len() == 1)),
        same_meaning: false,
        reason: pages(sorted.is_some(), page.as_ref().is_some_and(|page| page.nullable)).to_owned(),
        better: page.map(|page| page.sql),
        title,
        cause: "OFFSET reads all rows that it skips, so that each page costs more than the one before.",
        remedy,
        sql: None,
        saved_ms_per_hour: saved,
        effect,
        evidence,
        effort: Effort::Medium,
    })
}

/// What becomes of pages that follow the last row seen.
fn pages(sorted: bool, nullable: bool) -> &'static str {
    match nullable {
        _ if !sorted => {
            "Pages follow the last row seen, so that new rows do not shift them, and none can be jumped to. What is computed \
             over all rows before a page is cut, by a window function or a UNION, is computed over fewer then: it must be \
             told apart, or comes from elsewhere."
        }
        true => {
            "Pages follow the last row seen, so that new rows do not shift them, and none can be jumped to; rows whose sort \
                 column is NULL are on no page."
        }
        false => {
            "Pages follow the last row seen, so that new rows do not shift them, and none can be jumped to."
        }
    }
}

/// What is saved at most, in ms per hour, and in words. Where the order is not that of one table, all rows may be needed
/// before the first is known, whatever a page skips; and what a statement around the page does stays.
fn saved(look: &Look<'_>, s: &Statement, deep: &Deep<'_>, indexed: bool) -> (Option<f64>, String) {
    if deep.sorted.is_some() && !deep.offset.inside && indexed {
        return less_skipped(look, s, deep.rows, deep.blocks);
    }
    let mut effect = format!("An execution touches {} now.", words::amount(deep.blocks, "block"));
    if let Some(skipped) = deep.skipped {
        let skipped = words::amount(skipped.round(), "row");
        effect.push_str(&format!(" {skipped} are read to be skipped."));
    }
    (None, effect)
}

/// How the page is written: its order, where that is of one table, and what it skips.
fn written(offset: &Offset, sorted: Option<&TableUse>) -> Option<String> {
    if offset.expression.is_empty() {
        return None;
    }
    let sorted = sorted.map(|one| format!("{} ", order_by(&one.order_by))).unwrap_or_default();
    Some(format!("{sorted}{}", offset.expression))
}

fn order_by(order: &[Order]) -> String {
    let keys: Vec<String> = order
        .iter()
        .map(|o| {
            let direction = if o.descending { " DESC" } else { "" };
            let nulls = match (o.nulls_first == o.descending, o.nulls_first) {
                (true, _) => "",
                (false, true) => " NULLS FIRST",
                (false, false) => " NULLS LAST",
            };
            format!("{}{direction}{nulls}", o.expression)
        })
        .collect();
    format!("ORDER BY {}", keys.join(", "))
}

/// What a page that skips nothing saves at most, in ms per hour, and in words.
fn less_skipped(look: &Look<'_>, s: &Statement, rows: f64, blocks: f64) -> (Option<f64>, String) {
    let saved = per_hour(look.facts, s.exec_ms)
        .map(|ms| ms * (1.0 - (rows + super::DESCENT) / blocks).clamp(0.0, 1.0));
    let effect = match saved {
        Some(ms) => format!(
            "About {} instead of {} per page: at most {} less per hour.",
            words::amount((rows + super::DESCENT).ceil(), "block"),
            words::number(blocks),
            words::milliseconds(ms)
        ),
        None => String::new(),
    };
    (saved, effect)
}

/// A page that begins behind the last row of the one before.
struct Page {
    sql: String,
    /// A sort column may be NULL.
    nullable: bool,
    /// An index gives the rows in its order: without one, each page is found among all rows, whatever it skips.
    indexed: bool,
}

/// Of a statement that reads one table, in its order.
fn keyset(look: &Look<'_>, shape: &Shape) -> Option<Page> {
    let [one] = shape.tables.as_slice() else { return None };
    if one.order_by.is_empty() { None } else { page(look, shape, one) }
}

/// By the order in which a table is read, with its primary key behind it where rows may be alike.
fn page(look: &Look<'_>, shape: &Shape, one: &TableUse) -> Option<Page> {
    let table = *look.tables.get(&one.oid)?;
    let order = with_key(look, table, one)?;
    let nullable = order.iter().any(|o| !is_not_null(table, o.attnum));
    let first = shape.parameters + 1;
    let name = |o: &Order| o.expression.clone();
    let values: Vec<String> = (first..).take(order.len()).map(|n| format!("${n}")).collect();
    let sign = |o: &Order| if o.descending { "<" } else { ">" };
    let alike = order.iter().all(|o| o.descending == order[0].descending);
    let condition = match (order.as_slice(), alike) {
        ([one], _) => format!("{} {} {}", name(one), sign(one), values[0]),
        (all, true) => {
            let names: Vec<String> = all.iter().map(name).collect();
            format!("({}) {} ({})", names.join(", "), sign(&all[0]), values.join(", "))
        }
        (all, false) => {
            let arms: Vec<String> = (0..all.len())
                .map(|last| {
                    let equal = (0..last).map(|i| format!("{} = {}", name(&all[i]), values[i]));
                    let step =
                        format!("{} {} {}", name(&all[last]), sign(&all[last]), values[last]);
                    equal.chain([step]).collect::<Vec<_>>().join(" AND ")
                })
                .collect();
            format!("({})", arms.join(" OR "))
        }
    };
    let limit = first + u32::try_from(order.len()).ok()?;
    let sql = format!("{condition} {} LIMIT ${limit}", order_by(&order));
    let indexed = is_indexed(look, one, &order);
    Some(Page { sql, nullable, indexed })
}

/// Whether an index has a table's rows in an order, behind columns that are compared with one value each.
fn is_indexed(look: &Look<'_>, one: &TableUse, order: &[Order]) -> bool {
    let fixed = |attnum: i16| {
        one.predicates.iter().any(|p| p.attnum == attnum && p.test == Test::Equal && !p.join)
    };
    let mut usable = look.facts.indexes.iter().flatten().filter(|index| {
        index.table == one.oid && index.valid && index.predicate.is_none() && !index.unread
    });
    usable.any(|index| {
        let mut key = index.key.iter().map(|part| part.attnum);
        let first = order.first().map_or(0, |o| o.attnum);
        first > 0 && key.find(|attnum| !fixed(*attnum) || *attnum == first) == Some(first)
    })
}

/// The order, made one of single rows by the primary key.
fn with_key(look: &Look<'_>, table: &Table, one: &TableUse) -> Option<Vec<Order>> {
    let mut order = one.order_by.clone();
    // An index could hold an expression, but the client does not have its value.
    let plain = order.iter().all(|o| o.attnum > 0 && (o.descending == o.nulls_first));
    if !plain {
        return None;
    }
    let unique = |index: &&crate::facts::Index| {
        index.table == table.oid
            && index.unique
            && index.valid
            && index.predicate.is_none()
            && !index.unread
            && index.key.iter().all(|key| key.attnum > 0 && is_not_null(table, key.attnum))
    };
    let indexes = || look.facts.indexes.iter().flatten().filter(unique);
    let has = |order: &[Order], attnum: i16| order.iter().any(|o| o.attnum == attnum);
    if indexes().any(|index| index.key.iter().all(|key| has(&order, key.attnum))) {
        return Some(order);
    }
    let primary = indexes().find(|index| index.primary)?;
    let descending = order.last()?.descending;
    for key in &primary.key {
        if !has(&order, key.attnum) {
            order.push(Order {
                expression: key.expression.clone(),
                attnum: key.attnum,
                descending,
                nulls_first: descending,
            });
        }
    }
    Some(order)
}

fn is_not_null(table: &Table, attnum: i16) -> bool {
    table.columns.iter().any(|column| column.attnum == attnum && column.not_null)
}

//! What stands around a column, turned into a range of the column's own values.

use std::ffi::CStr;

use perfmon_core::facts::FormKind;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

use super::Finder;
use super::column::{Sides, is_column};
use crate::advise::scope::plain;
use crate::pg::{fmgr, list};

/// What `date_trunc` takes for a unit, under any of its usual names, and how long it is; for each, a unit's end is the
/// next one's beginning. Centuries and millennia begin with their year 1, as `date_trunc` has it.
const UNITS: [(&[&str], &str); 13] = [
    (&["microseconds", "microsecond", "us", "usec"], "1 microsecond"),
    (&["milliseconds", "millisecond", "ms", "msec"], "1 millisecond"),
    (&["second", "seconds", "sec", "secs", "s"], "1 second"),
    (&["minute", "minutes", "min", "mins", "m"], "1 minute"),
    (&["hour", "hours", "hr", "hrs", "h"], "1 hour"),
    (&["day", "days", "d"], "1 day"),
    (&["week", "weeks", "w"], "7 days"),
    (&["month", "months", "mon", "mons"], "1 month"),
    // An interval of one quarter cannot be written.
    (&["quarter", "qtr"], "3 months"),
    (&["year", "years", "yr", "yrs", "y"], "1 year"),
    (&["decade", "decades", "dec", "decs"], "10 years"),
    (&["century", "centuries", "cent", "c"], "100 years"),
    (&["millennium", "millennia", "mil", "mils"], "1000 years"),
];

/// A unit of time and how long it is, as they are written.
struct Unit {
    name: String,
    width: String,
    /// The same of a day, of which hours and less are nothing.
    days: String,
}

/// How many of the units are shorter than a day.
const SHORT: usize = 5;

/// Whether values of a type hang on the time zone where they are compared with times of days.
fn is_zoned(of_type: Oid) -> bool {
    of_type == pg_sys::TIMESTAMPTZOID
}

impl Finder<'_> {
    /// `column::date` and `date_trunc(unit, column)`.
    pub(super) unsafe fn called(
        &self,
        call: *mut pg_sys::FuncExpr,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        // SAFETY: a copy, cast by its own tags.
        unsafe {
            if sides.any {
                return None;
            }
            let arguments = list::nodes((*call).args);
            let function = (*call).funcid.to_u32();
            match (function, &arguments[..]) {
                (pg_sys::F_DATE_TIMESTAMP | pg_sys::F_DATE_TIMESTAMPTZ, &[column])
                    if is_column(column) =>
                {
                    let zoned = function == pg_sys::F_DATE_TIMESTAMPTZ || is_zoned(sides.of_type);
                    let better = match sides.of_type {
                        pg_sys::DATEOID => of_days(sides, function == pg_sys::F_DATE_TIMESTAMPTZ),
                        // A date that is compared with a time of the day is its midnight.
                        _ => {
                            let own = function == pg_sys::F_DATE_TIMESTAMPTZ;
                            let (name, width) = ("'day'".to_owned(), "interval '1 day'".to_owned());
                            of_units(sides, &Unit { name, days: width.clone(), width }, own)
                        }
                    };
                    Some((FormKind::Dated { zoned }, better))
                }
                (
                    pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMP | pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ,
                    &[unit, column],
                ) if is_column(column) => {
                    let own = function == pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ;
                    let better = of_units(sides, &self.unit(unit)?, own);
                    Some((FormKind::Truncated { zoned: own || is_zoned(sides.of_type) }, better))
                }
                (
                    pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMP | pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ,
                    &[unit, day],
                ) if is_day(day) => {
                    let own = function == pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ;
                    // Times without time zone become others where they are compared with such.
                    let alike = own || !is_zoned(sides.of_type);
                    let better = of_dates(sides, &self.unit(unit).filter(|_| alike)?, own);
                    Some((FormKind::TruncatedDay, better))
                }
                _ => None,
            }
        }
    }

    /// A unit of time. Of one that is a parameter, how long it is follows from its name.
    unsafe fn unit(&self, node: *mut Node) -> Option<Unit> {
        // SAFETY: cast by the node's own tag; a constant of type text that is not null is one.
        unsafe {
            match (*plain(node)).type_ {
                NodeTag::T_Const => {
                    let constant = plain(node).cast::<pg_sys::Const>();
                    if (*constant).constisnull || (*constant).consttype != pg_sys::TEXTOID {
                        return None;
                    }
                    let text = pg_sys::text_to_cstring((*constant).constvalue.cast_mut_ptr());
                    let text = fmgr::utf8(CStr::from_ptr(text).to_bytes()).to_ascii_lowercase();
                    let at = UNITS.iter().position(|(names, _)| names.contains(&text.as_str()))?;
                    let (names, width) = UNITS[at];
                    Some(Unit {
                        name: format!("'{}'", names[0]),
                        width: format!("interval '{width}'"),
                        days: format!("interval '{}'", if at < SHORT { "1 day" } else { width }),
                    })
                }
                NodeTag::T_Param => {
                    let name = self.deparsed(node, None, false)?;
                    // Of all units, quarters alone begin with this letter, and alone have no interval.
                    let width = format!(
                        "CASE WHEN {name} ~* '^q' THEN interval '3 months' ELSE ('1 ' || {name})::interval END"
                    );
                    let days = format!("greatest({width}, interval '1 day')");
                    Some(Unit { name, width, days })
                }
                _ => None,
            }
        }
    }
}

/// Times are counted in these. What comes after infinity is infinity, and so is what comes before: the last moment of a
/// range finds infinite times as what is written finds them, the first one after it does not.
const MOMENT: &str = "interval '1 microsecond'";

/// The days of a column compared with a date.
fn of_days(sides: &Sides, zoned: bool) -> String {
    let c = &sides.column;
    let x = sides.value_as(pg_sys::DATEOID, "date");
    let last = match zoned {
        true => format!("({x} + 1)::timestamp with time zone - {MOMENT}"),
        false => format!("{x} + 1 - {MOMENT}"),
    };
    match sides.sign {
        0 => format!("{c} < {x}"),
        1 => format!("{c} <= {last}"),
        2 => format!("{c} >= {x} AND {c} <= {last}"),
        3 => format!("{c} >= {x}"),
        _ => format!("{c} > {last}"),
    }
}

/// The units in which the times of a column lie, compared with a time.
fn of_units(sides: &Sides, Unit { name, width, .. }: &Unit, zoned: bool) -> String {
    let c = &sides.column;
    let x = match zoned {
        true => sides.value_as(pg_sys::TIMESTAMPTZOID, "timestamp with time zone"),
        false => sides.value_as(pg_sys::TIMESTAMPOID, "timestamp"),
    };
    // The first beginning of a unit that is not before x, and the last moment of the unit in which x lies.
    let begin = format!("date_trunc({name}, {x} + {width} - {MOMENT})");
    let last = format!("date_trunc({name}, {x}) + {width} - {MOMENT}");
    match sides.sign {
        0 => format!("{c} < {begin}"),
        1 => format!("{c} <= {last}"),
        2 => {
            format!(
                "{c} >= {x} AND {c} <= {x} + {width} - {MOMENT} AND {x} = date_trunc({name}, {x})"
            )
        }
        3 => format!("{c} >= {begin}"),
        _ => format!("{c} > {last}"),
    }
}

/// Whether an expression is a column of dates made times, of their midnights.
unsafe fn is_day(node: *mut Node) -> bool {
    const MIDNIGHTS: [u32; 2] = [pg_sys::F_TIMESTAMP_DATE, pg_sys::F_TIMESTAMPTZ_DATE];
    // SAFETY: a copy, cast by its own tag.
    unsafe {
        if (*node).type_ != NodeTag::T_FuncExpr {
            return false;
        }
        let cast = node.cast::<pg_sys::FuncExpr>();
        let of_date = MIDNIGHTS.contains(&(*cast).funcid.to_u32());
        of_date && matches!(list::nodes((*cast).args)[..], [column] if is_column(column))
    }
}

/// The units in which the dates of a column lie, compared with a time: the column itself with the date on which a unit
/// begins, so that it does not matter what the clocks of the time zone do at midnight.
fn of_dates(sides: &Sides, Unit { name, days, .. }: &Unit, zoned: bool) -> String {
    let c = &sides.column;
    let (x, day) = match zoned {
        true => {
            let x = sides.value_as(pg_sys::TIMESTAMPTZOID, "timestamp with time zone");
            let day = format!("({x})::date");
            (x, day)
        }
        false => {
            let x = sides.value_as(pg_sys::TIMESTAMPOID, "timestamp");
            let day = format!("({x})::date::timestamp");
            (x, day)
        }
    };
    // The beginning of the unit in which the day of x lies.
    let begin = format!("date_trunc({name}, {day})");
    // The first day of a unit that begins at x or later, or later alone. One day less than infinity is infinity, so that the
    // last day before tells of infinite dates what the first day after does not.
    let first = |sign: &str| {
        format!("(CASE WHEN {x} {sign} {begin} THEN {begin} ELSE {begin} + {days} END)::date")
    };
    match sides.sign {
        0 => format!("{c} < {}", first("<=")),
        1 => format!("{c} <= {} - 1", first("<")),
        2 => format!("{c} >= ({x})::date AND {c} <= ({x} + {days})::date - 1 AND {x} = {begin}"),
        3 => format!("{c} >= {}", first("<=")),
        _ => format!("{c} > {} - 1", first("<")),
    }
}

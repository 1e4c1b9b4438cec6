//! Times the questions that people and dashboards ask of a month of history, as they ask them: plain SQL
//! text, planning and transfer of the rows included.

use crate::figures::Figures;
use crate::record::own_ms;
use crate::{Options, Outcome, median, note};
use postgres::{Client, SimpleQueryMessage};
use std::time::{Duration, Instant};

/// Rounds that count, after one that does not: so many at least, and for so long. A machine that others use is slow for
/// seconds on end, and the median is to be that of the others.
const ROUNDS: usize = 25;
const AT_LEAST: Duration = Duration::from_secs(60);

/// The questions: the figure's name, and the text.
fn questions(end: &str, statement: i32) -> [(&'static str, String); 6] {
    let end = format!("date_trunc('minute', '{end}'::timestamptz)");
    // From one minute past an hour to one minute before one, and so with days: both ends as ragged as can be.
    let ragged_since =
        format!("date_trunc('day', {end} - interval '30 days') + interval '1 day 1 hour 1 minute'");
    let ragged_until = format!("date_trunc('day', {end}) - interval '1 hour 1 minute'");
    [
        (
            "top_hour",
            // From half past one hour to half past the next: of an hour that is over, one row would be read.
            format!(
                "SELECT * FROM perfmon.top_statements(date_trunc('hour', {end}) - interval '90 minutes', \
                 date_trunc('hour', {end}) - interval '30 minutes')"
            ),
        ),
        (
            "top_month",
            format!("SELECT * FROM perfmon.top_statements({ragged_since}, {ragged_until})"),
        ),
        (
            "series_month",
            format!(
                "SELECT * FROM perfmon.statement_series({statement}, {end} - interval '30 days', {end}, \
                 interval '1 hour')"
            ),
        ),
        (
            "series_day",
            format!(
                "SELECT * FROM perfmon.statement_series({statement}, {end} - interval '24 hours', {end}, \
                 interval '1 minute')"
            ),
        ),
        (
            "load_month",
            format!(
                "SELECT * FROM perfmon.load_series({end} - interval '30 days', {end}, interval '1 hour')"
            ),
        ),
        (
            "heatmap_month",
            format!(
                "SELECT * FROM perfmon.latency_heatmap({end} - interval '30 days', {end}, \
                 interval '1 hour', {statement})"
            ),
        ),
    ]
}

/// A statement from the middle of the field.
const STATEMENT: i32 = 2_500;

fn time(client: &mut Client, query: &str) -> Outcome<(f64, usize)> {
    let began = Instant::now();
    let answer = client.simple_query(query)?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let rows = answer.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
    Ok((ms, rows))
}

/// Each question many times, in turns.
pub(crate) fn warm(options: &Options) -> Outcome<()> {
    let end = Figures::read(options)?.word(false, "boundary")?;
    let mut client = options.connect(&options.dbname)?;
    let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[])?.get(0);
    let mut figures = Figures::open(options, false)?;
    let questions = questions(&end, STATEMENT);
    let mut found = questions.each_ref().map(|_| (Vec::new(), Vec::new(), 0));
    let began = Instant::now();
    let rounds = (0..).take_while(|round| *round <= ROUNDS || began.elapsed() < AT_LEAST);
    for round in rounds {
        for ((_, query), (wall, cpu, rows)) in questions.iter().zip(&mut found) {
            let before = own_ms(pid)?;
            let (ms, count) = time(&mut client, query)?;
            *rows = count;
            if round > 0 {
                wall.push(ms);
                cpu.push(own_ms(pid)? - before);
            }
        }
    }
    for ((name, _), (wall, cpu, rows)) in questions.iter().zip(found) {
        let ms = median(wall);
        note(&format!("{name}: {ms:.1} ms, {:.1} ms of CPU, {rows} rows", median(cpu)));
        if rows == 0 {
            return Err(format!("{name} found nothing").into());
        }
        figures.number(&format!("{name}_ms"), ms)?;
    }
    Ok(())
}

/// One question, once: the script has just restarted the server.
pub(crate) fn cold(options: &Options) -> Outcome<()> {
    let end = Figures::read(options)?.word(false, "boundary")?;
    let mut client = options.connect(&options.dbname)?;
    let mut figures = Figures::open(options, false)?;
    if let Some((name, query)) = questions(&end, STATEMENT).get(options.question) {
        let (ms, _) = time(&mut client, query)?;
        note(&format!("{name} after a restart: {ms:.1} ms"));
        figures.number(&format!("{name}_cold_ms"), ms)?;
    }
    Ok(())
}

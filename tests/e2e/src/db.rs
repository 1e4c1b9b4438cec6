//! A connection with the few shorthands that tests need.

use std::ops::{Deref, DerefMut};

use postgres::types::{FromSql, ToSql};

/// A client connection; derefs to `postgres::Client`.
pub struct Db(pub postgres::Client);

impl Deref for Db {
    type Target = postgres::Client;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Db {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Db {
    /// Runs one or more statements by the simple protocol.
    #[track_caller]
    pub fn run(&mut self, sql: &str) {
        if let Err(e) = self.0.batch_execute(sql) {
            panic!("{}\nin: {sql}", message_of(&e));
        }
    }

    /// First column of the only row.
    #[track_caller]
    pub fn val<T: for<'a> FromSql<'a>>(&mut self, sql: &str) -> T {
        self.val_with(sql, &[])
    }

    /// First column of the only row of a query with parameters.
    #[track_caller]
    pub fn val_with<T: for<'a> FromSql<'a>>(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> T {
        match self.0.query_one(sql, params).and_then(|row| row.try_get(0)) {
            Ok(v) => v,
            Err(e) => panic!("{}\nin: {sql}", message_of(&e)),
        }
    }

    /// All rows.
    #[track_caller]
    pub fn rows(&mut self, sql: &str) -> Vec<postgres::Row> {
        match self.0.query(sql, &[]) {
            Ok(rows) => rows,
            Err(e) => panic!("{}\nin: {sql}", message_of(&e)),
        }
    }

    /// First column of all rows.
    #[track_caller]
    pub fn list<T: for<'a> FromSql<'a>>(&mut self, sql: &str) -> Vec<T> {
        self.rows(sql).iter().map(|row| row.get(0)).collect()
    }

    /// Rows by the simple protocol: every value as text, as psql shows them.
    #[track_caller]
    pub fn texts(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = match self.0.simple_query(sql) {
            Ok(messages) => messages,
            Err(e) => panic!("{}\nin: {sql}", message_of(&e)),
        };
        messages
            .iter()
            .filter_map(|m| match m {
                postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
                }
                _ => None,
            })
            .collect()
    }

    /// The error that the statement must raise.
    #[track_caller]
    pub fn fails(&mut self, sql: &str) -> postgres::Error {
        match self.0.batch_execute(sql) {
            Ok(()) => panic!("should have failed: {sql}"),
            Err(e) => e,
        }
    }

    /// Process id of the server process behind this connection.
    pub fn pid(&mut self) -> i32 {
        self.val("select pg_backend_pid()")
    }

    /// Server version, as in `server_version_num`.
    pub fn version(&mut self) -> i32 {
        self.val("select current_setting('server_version_num')::int")
    }

    /// Query identifier that the server computes for a statement.
    pub fn queryid_of(&mut self, sql: &str) -> i64 {
        let plan = self.texts(&format!("EXPLAIN (VERBOSE, COSTS OFF) {sql}"));
        plan.iter()
            .filter_map(|r| r[0].as_deref())
            .find_map(|line| line.trim().strip_prefix("Query Identifier: "))
            .unwrap_or_else(|| panic!("no query identifier for {sql}"))
            .parse()
            .unwrap()
    }
}

/// SQLSTATE of an error, empty when it did not come from the server.
pub fn code_of(e: &postgres::Error) -> String {
    e.code().map(|c| c.code().to_owned()).unwrap_or_default()
}

/// Everything the server said.
pub fn message_of(e: &postgres::Error) -> String {
    match e.as_db_error() {
        Some(d) => format!(
            "{}: {} detail: {} hint: {} where: {}",
            d.code().code(),
            d.message(),
            d.detail().unwrap_or("-"),
            d.hint().unwrap_or("-"),
            d.where_().unwrap_or("-")
        ),
        None => format!("{e:?}"),
    }
}

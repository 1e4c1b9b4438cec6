//! What the server itself makes of the texts of statements: tables, conditions, order. It asks the parser
//! and the analyser, never the planner; nothing is run, and no lock is waited for. It must never judge
//! what it learns.

mod clause;
mod form;
mod group;
mod operator;
mod order;
mod path;
mod repair;
mod scope;
mod shape;

#[cfg(any(test, feature = "pg_test"))]
mod checks;

pub(crate) use shape::{Text, shapes, trigram_opclass};

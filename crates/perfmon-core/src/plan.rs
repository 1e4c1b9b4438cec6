//! Plans of statements: what makes two of them the same one, what of their text is data, when one took the place
//! of another, and which part of one its cost stands in.

pub mod flip;
pub mod mask;
pub mod shape;
pub mod share;

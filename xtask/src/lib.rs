//! Tasks that tests need too.

pub mod guests;

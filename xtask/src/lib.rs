//! Tasks that tests need too.

pub mod demo;
pub mod guests;
pub mod house;

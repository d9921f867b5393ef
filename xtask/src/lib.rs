//! Tasks that tests need too.

pub mod bench;
pub mod demo;
pub mod guests;
pub mod house;

//! Tasks that tests need too.

pub mod bench;
pub mod demo;
pub mod fuzz;
pub mod guests;
pub mod house;

//! (see the package description)

fn main() {}

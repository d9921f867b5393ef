//! (see the package description)
#![no_std]

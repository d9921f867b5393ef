//! The tables of taps: which there are, making and removing them.

use netlink_packet_core::NLM_F_DUMP;
use rustix::io::Errno;

use super::attributes::{Attribute, text_of};
use super::expressions::alternatives;
use super::kernel::{Refused, ask, order};
use super::messages::{
    APPENDED, Batch, DELETE_TABLE, GET_TABLE, MADE, NEW_CHAIN, NEW_RULE, NEW_TABLE, TABLE_NAME,
    chain, message, rule,
};
use super::words::{Family, Program};
use crate::net::netlink::Error;

/// The names of all tables of single interfaces.
///
/// # Errors
/// The kernel does not tell.
pub fn names() -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let question = message(GET_TABLE, NLM_F_DUMP, 1, Family::NetDev, &[]);
    ask(&question, 1, |_, kind, attributes| {
        if kind == NEW_TABLE {
            names.extend(text_of(attributes, TABLE_NAME));
        }
    })
    .map_err(|(_, error)| error)?;
    Ok(names)
}

/// Makes a table, with all that is in it: all at once, or not at all.
///
/// # Errors
/// The kernel refuses, or there is one already.
pub fn make(program: &Program) -> Result<(), Refused> {
    let mut batch = Batch::new(program.family());
    push(&mut batch, program);
    order(&mut batch)
}

/// Makes a table instead of the one of its name, with all that is in it: there is the one or the
/// other at every moment, and that one still if the kernel refuses.
///
/// # Errors
/// The kernel refuses, or there is none.
pub fn replace(program: &Program) -> Result<(), Refused> {
    let mut batch = Batch::new(program.family());
    push_removal(&mut batch, program.table());
    push(&mut batch, program);
    order(&mut batch)
}

fn push_removal(batch: &mut Batch, table: &str) {
    let attributes = [Attribute::text(TABLE_NAME, table)];
    batch.push(format!("that the table {table} goes"), DELETE_TABLE, 0, &attributes);
}

fn push(batch: &mut Batch, program: &Program) {
    let table = program.table();
    let name = [Attribute::text(TABLE_NAME, table)];
    batch.push(format!("the table {table}"), NEW_TABLE, MADE, &name);
    for it in program.chains() {
        let what = format!("the chain {:?} of {table}", it.name);
        batch.push(what, NEW_CHAIN, MADE, &chain(table, it));
    }
    for it in program.rules() {
        for expressions in alternatives(it) {
            let what = format!("the rule {:?} of the chain {:?} of {table}", it.purpose, it.chain);
            let attributes = rule(table, it.chain, it.purpose, expressions);
            batch.push(what, NEW_RULE, APPENDED, &attributes);
        }
    }
}

/// Removes the table of a single interface. That there is none is no error.
///
/// # Errors
/// It is still there, for all that is known.
pub fn remove(name: &str) -> Result<(), Refused> {
    let mut batch = Batch::new(Family::NetDev);
    push_removal(&mut batch, name);
    match order(&mut batch) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(()),
        done => done,
    }
}

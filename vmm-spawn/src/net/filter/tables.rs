//! The tables of taps: which there are, making and removing them.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use rustix::io::Errno;

use super::attributes::{Attribute, bytes_of, text_of};
use super::expressions::alternatives;
use super::kernel::{Refused, ask, order};
use super::messages::{
    self, APPENDED, Batch, DELETE_TABLE, GENERATION, GET_GENERATION, GET_TABLE, MADE, NEW_CHAIN,
    NEW_GENERATION, NEW_RULE, NEW_TABLE, TABLE_COMMENT, TABLE_NAME, chain, message, rule,
};
use super::words::{Family, Program};
use crate::net::netlink::Error;

/// The names of all tables of single interfaces, with what is written on each.
///
/// # Errors
/// The kernel does not tell.
pub fn all() -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    let question = message(GET_TABLE, NLM_F_DUMP, 1, Family::NetDev, &[]);
    ask(&question, 1, |_, kind, attributes| {
        if let (NEW_TABLE, Some(name)) = (kind, text_of(attributes, TABLE_NAME)) {
            found.insert(name, bytes_of(attributes, TABLE_COMMENT).unwrap_or_default());
        }
    })
    .map_err(|(_, error)| error)?;
    Ok(found)
}

/// The number of the kernel's rules in this network: with each change of any of them, whoever makes it,
/// the next one.
///
/// # Errors
/// The kernel does not tell.
pub fn generation() -> Result<u32, Error> {
    let mut found = None;
    let question = message(GET_GENERATION, NLM_F_ACK, 1, Family::NetDev, &[]);
    ask(&question, 1, |_, kind, attributes| {
        if kind == NEW_GENERATION {
            found = bytes_of(attributes, GENERATION);
        }
    })
    .map_err(|(_, error)| error)?;
    let number = found.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    number.ok_or_else(|| Error::Nonsense("rules without a number".into()))
}

/// What is written on a table with this comment.
pub fn mark(comment: &str) -> Vec<u8> {
    if comment.is_empty() { Vec::new() } else { messages::comment(comment) }
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
    batch.push(format!("the table {table}"), NEW_TABLE, MADE, &messages::table(program));
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

/// Removes the table of a single interface; returns whether there was one.
///
/// # Errors
/// It is still there, for all that is known.
pub fn remove(name: &str) -> Result<bool, Refused> {
    // Orders that the kernel takes back cost it many milliseconds.
    if !is_there(name)? {
        return Ok(false);
    }
    let mut batch = Batch::new(Family::NetDev);
    push_removal(&mut batch, name);
    match order(&mut batch) {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(false),
        done => done.map(|()| true),
    }
}

fn is_there(name: &str) -> Result<bool, Refused> {
    let of_name = [Attribute::text(TABLE_NAME, name)];
    let question = message(GET_TABLE, NLM_F_ACK, 1, Family::NetDev, &of_name);
    match ask(&question, 1, |_, _, _| ()) {
        Ok(_) => Ok(true),
        Err((_, error)) if error.errno() == Some(Errno::NOENT) => Ok(false),
        Err((_, error)) => Err(Refused { what: format!("a question for the table {name}"), error }),
    }
}

//! Whether the kernel has taken rules as they were meant: what it has of a table is compared with
//! what was ordered, attribute by attribute.
//!
//! It is asked for the table and each chain by their names, and for the rules of that table: the
//! answers do not grow with what else there is. That there is nothing beside is known from the
//! number of things that the table has.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use rustix::io::Errno;

use super::attributes::{Attribute, same, text_of};
use super::expressions::alternatives;
use super::kernel::ask;
use super::messages::{
    GET_CHAIN, GET_RULE, GET_TABLE, NEW_CHAIN, NEW_RULE, NEW_TABLE, RULE_CHAIN, TABLE_NAME, chain,
    chain_name, message, rule, table,
};
use super::words::Program;
use crate::net::netlink::Error;

/// How often rules are read again, as others of the host have changed meanwhile.
const DUMPS_MAX: usize = 20;

/// Why it is not known that the rules are as meant.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel does not tell.
    #[error("the kernel's rules cannot be read: {0}")]
    Kernel(Error),
    /// They are others.
    #[error("the rules that the kernel has are not those that it was given: {0}")]
    Differs(String),
}

impl From<(u32, Error)> for ReadError {
    fn from((_, error): (u32, Error)) -> Self {
        Self::Kernel(error)
    }
}

fn differs(what: impl Into<String>) -> ReadError {
    ReadError::Differs(what.into())
}

/// Compares.
///
/// # Errors
/// What differs, in words; the kernel does not tell, or there is no such table
/// ([`Errno::NOENT`]).
pub fn check(program: &Program) -> Result<(), ReadError> {
    check_places(program)?;
    check_rules(program)
}

/// The table and its chains.
fn check_places(program: &Program) -> Result<(), ReadError> {
    /// `NFTA_TABLE_HANDLE`
    const TABLE_ADDED: [u16; 1] = [4];
    /// `NFTA_CHAIN_HANDLE`, `NFTA_CHAIN_USE`
    const CHAIN_ADDED: [u16; 2] = [2, 6];
    let (table, family) = (program.table(), program.family());
    let name = [Attribute::text(TABLE_NAME, table)];
    let mut request = message(GET_TABLE, NLM_F_ACK, 1, family, &name);
    let mut last = 1;
    for it in program.chains() {
        last += 1;
        let name = chain_name(table, it.name);
        request.extend(message(GET_CHAIN, NLM_F_ACK, last, family, &name));
    }
    let mut found = BTreeMap::new();
    let asked = ask(&request, last, |number, kind, attributes| {
        found.insert((number, kind), attributes.to_vec());
    });
    asked.map_err(|(number, error)| match error.errno() {
        Some(Errno::NOENT) if number > 1 => differs(format!("{table} has not all of its chains")),
        _ => ReadError::Kernel(error),
    })?;
    // NFTA_TABLE_FLAGS, of which none is set, and NFTA_TABLE_USE: chains, and else sets or the like.
    let count = last - 1;
    let mut expected = self::table(program);
    expected.extend([Attribute::number(2, 0), Attribute::number(3, count)]);
    let attributes = found.remove(&(1, NEW_TABLE)).unwrap_or_default();
    if !same(&expected, &attributes, &TABLE_ADDED) {
        return Err(differs(format!(
            "{table} is switched off, marked by somebody, or has not just its {count} chains"
        )));
    }
    for (number, it) in (2..).zip(program.chains()) {
        let attributes = found.remove(&(number, NEW_CHAIN)).unwrap_or_default();
        if !same(&chain(table, it), &attributes, &CHAIN_ADDED) {
            return Err(differs(format!("the chain {:?} of {table} is another one", it.name)));
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(differs(format!("there is more about {table} than was asked for")))
}

/// All rules of the table, chain by chain in their order.
fn check_rules(program: &Program) -> Result<(), ReadError> {
    /// `NFTA_RULE_HANDLE`, `NFTA_RULE_POSITION`
    const ADDED: [u16; 2] = [3, 6];
    let table = program.table();
    let mut ordered: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for it in program.rules() {
        let all = alternatives(it).into_iter();
        let all = all.map(|expressions| (it, rule(table, it.chain, it.purpose, expressions)));
        ordered.entry(it.chain.to_owned()).or_default().extend(all);
    }
    let found = rules(program)?;
    if let Some(other) = found.keys().find(|chain| !ordered.contains_key(*chain)) {
        return Err(differs(format!("there are rules in the chain {other:?} of {table}")));
    }
    for (name, ordered) in &ordered {
        let found = found.get(name).map_or(&[][..], Vec::as_slice);
        let (is, should) = (found.len(), ordered.len());
        if is != should {
            return Err(differs(format!(
                "the chain {name:?} of {table} has {is} rules, not {should}"
            )));
        }
        let pairs = ordered.iter().zip(found);
        for (place, ((rule, attributes), found)) in (1..).zip(pairs) {
            if !same(attributes, found, &ADDED) {
                let purpose = rule.purpose;
                return Err(differs(format!(
                    "rule {place} of the chain {name:?} of {table}, {purpose:?}, is another one"
                )));
            }
        }
    }
    Ok(())
}

/// The rules of the table as the kernel has them, by chain.
fn rules(program: &Program) -> Result<BTreeMap<String, Vec<Vec<u8>>>, ReadError> {
    /// `NFTA_RULE_TABLE`
    const RULE_TABLE: u16 = 1;
    let of_table = [Attribute::text(RULE_TABLE, program.table())];
    let question = message(GET_RULE, NLM_F_DUMP, 1, program.family(), &of_table);
    for _ in 0..DUMPS_MAX {
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let changed = ask(&question, 1, |_, kind, attributes| {
            if kind == NEW_RULE {
                let chain = text_of(attributes, RULE_CHAIN).unwrap_or_default();
                found.entry(chain).or_default().push(attributes.to_vec());
            }
        })?;
        if !changed {
            return Ok(found);
        }
    }
    Err(differs("somebody changes the rules of this host all the time"))
}

//! Whether the kernel has taken rules as they were meant: what `nft` prints of a table is compared
//! with what was ordered, word by word.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::words::Program;

/// What is compared.
#[derive(Debug, Default, PartialEq)]
struct Table {
    chains: BTreeMap<String, Value>,
    /// By chain, in their order.
    rules: BTreeMap<String, Vec<Value>>,
    /// What nobody has ordered.
    other: Vec<Value>,
}

/// Compares.
///
/// # Errors
/// What differs, in words.
pub fn check(program: &Program, printed: &Value) -> Result<(), String> {
    let ordered = serde_json::to_value(program.contents().collect::<Vec<_>>());
    let ordered = ordered.map_err(|error| error.to_string())?;
    let ordered = table(ordered.as_array().into_iter().flatten(), program.table());
    let printed = printed.get("nftables").and_then(Value::as_array).ok_or("it has no table")?;
    let printed = table(printed.iter(), program.table());
    if let Some(other) = printed.other.first() {
        return Err(format!("there is also {other}"));
    }
    for (name, chain) in &ordered.chains {
        let found = printed.chains.get(name).unwrap_or(&Value::Null);
        if !same_chain(chain, found) {
            return Err(format!("chain {chain} is {found}"));
        }
        let none = Vec::new();
        let rules = ordered.rules.get(name).unwrap_or(&none);
        let found = printed.rules.get(name).unwrap_or(&none);
        if rules.len() != found.len() {
            return Err(format!("chain {name} has {} rules, not {}", found.len(), rules.len()));
        }
        if let Some((rule, found)) = rules.iter().zip(found).find(|(rule, found)| rule != found) {
            return Err(format!("rule {rule} is {found}"));
        }
    }
    match printed.chains.keys().find(|name| !ordered.chains.contains_key(*name)) {
        Some(name) => Err(format!("there is also the chain {name}")),
        None => Ok(()),
    }
}

/// Chains as they are; nft 1.0.6 does not print the interface of one.
fn same_chain(ordered: &Value, found: &Value) -> bool {
    let mut ordered = ordered.clone();
    if found.get("dev").is_none() {
        ordered.as_object_mut().and_then(|chain| chain.remove("dev"));
    }
    ordered == *found
}

fn table<'a>(objects: impl Iterator<Item = &'a Value>, name: &str) -> Table {
    let mut table = Table::default();
    for object in objects {
        let plain = plain(object);
        let text = |value: &Value, key: &str| {
            value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        if let Some(chain) = plain.get("chain") {
            table.chains.insert(text(chain, "name"), chain.clone());
        } else if let Some(rule) = plain.get("rule") {
            table.rules.entry(text(rule, "chain")).or_default().push(rule.clone());
        } else if plain.get("table").is_none_or(|table| text(table, "name") != name)
            && plain.get("metainfo").is_none()
        {
            table.other.push(plain);
        }
    }
    table
}

/// Without what the kernel numbers, and with one way to write each thing.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(plain_object(object)),
        Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16)
                .map_or_else(|_| value.clone(), |number| Value::String(number.to_string())),
            None => value.clone(),
        },
        Value::Number(number) => Value::String(number.to_string()),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn plain_object(object: &Map<String, Value>) -> Map<String, Value> {
    let members = object.iter().filter(|(key, _)| *key != "handle").map(|(key, value)| {
        let value = match (key.as_str(), value) {
            ("limit", Value::Object(limit)) => Value::Object(plain_limit(limit)),
            ("set", Value::Array(items)) => {
                let mut items: Vec<_> = items.iter().map(plain).collect();
                items.sort_by_cached_key(Value::to_string);
                Value::Array(items)
            }
            _ => plain(value),
        };
        (key.clone(), value)
    });
    members.collect()
}

/// In the smallest unit.
fn plain_limit(limit: &Map<String, Value>) -> Map<String, Value> {
    let mut result: Map<_, _> =
        limit.iter().map(|(key, value)| (key.clone(), plain(value))).collect();
    for (count, unit) in [("rate", "rate_unit"), ("burst", "burst_unit")] {
        let factor = match limit.get(unit).and_then(Value::as_str) {
            Some("bytes") => 1,
            Some("kbytes") => 1 << 10,
            Some("mbytes") => 1 << 20,
            // Packets have no unit.
            Some("packets") => {
                result.remove(unit);
                continue;
            }
            _ => continue,
        };
        if let Some(number) = limit.get(count).and_then(Value::as_u64) {
            result.insert(count.to_owned(), Value::String((number * factor).to_string()));
            result.insert(unit.to_owned(), Value::String("bytes".to_owned()));
        }
    }
    result
}

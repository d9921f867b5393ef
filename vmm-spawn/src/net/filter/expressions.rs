//! Statements in the kernel's words: expressions that load a register, compare it and decide. The
//! numbers are those of `linux/netfilter/nf_tables.h`, under whose names they stand here.

use super::attributes::Attribute;
use super::words::{Field, Rule, Source, Statement, Unit, Value, Verdict};

/// `NFTA_LIST_ELEM`
const ELEMENT: u16 = 1;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`
const NAME_DATA: [u16; 2] = [1, 2];
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`
const VALUE_VERDICT: [u16; 2] = [1, 2];
/// `NFTA_VERDICT_CODE`, `NFTA_VERDICT_CHAIN`
const CODE_CHAIN: [u16; 2] = [1, 2];

/// `NFT_REG_VERDICT`
const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG_1`: 16 bytes, of which a shorter field fills the first.
const REGISTER: u32 = 1;

/// `NF_DROP`
pub const DROP: u32 = 0;
/// `NF_ACCEPT`
pub const ACCEPT: u32 = 1;
/// `NFT_GOTO`
const GOTO: i32 = -4;

/// The lists of expressions that are this rule: several when something may be any of some numbers.
/// A frame for which more than one holds meets the first, and all decide alike.
pub fn alternatives(rule: &Rule) -> Vec<Vec<Attribute>> {
    let mut lists = vec![Vec::new()];
    for statement in &rule.statements {
        let choices = choices(statement);
        lists = lists
            .iter()
            .flat_map(|list: &Vec<_>| choices.iter().map(|it| [&list[..], it].concat()))
            .collect();
    }
    lists
}

fn choices(statement: &Statement) -> Vec<Vec<Attribute>> {
    match statement {
        Statement::Match { field, value: Value::Any(all), equal: true } => {
            all.iter().map(|value| comparison(field, std::slice::from_ref(value), true)).collect()
        }
        // It is none of them when it is neither the one nor the other.
        Statement::Match { field, value: Value::Any(all), equal } => {
            vec![comparison(field, all, *equal)]
        }
        Statement::Match { field, value, equal } => {
            vec![comparison(field, std::slice::from_ref(value), *equal)]
        }
        Statement::Over { rate, burst, unit } => vec![vec![limit(*rate, *burst, *unit)]],
        Statement::Verdict(verdict) => vec![vec![immediate(*verdict)]],
    }
}

fn expression(name: &str, data: Vec<Attribute>) -> Attribute {
    let [name_kind, data_kind] = NAME_DATA;
    let name = Attribute::text(name_kind, name);
    Attribute::nested(ELEMENT, vec![name, Attribute::nested(data_kind, data)])
}

fn data(kind: u16, bytes: &[u8]) -> Attribute {
    Attribute::nested(kind, vec![Attribute::bytes(VALUE_VERDICT[0], bytes)])
}

/// Loads a field, and compares it with each value.
fn comparison(field: &Field, values: &[Value], equal: bool) -> Vec<Attribute> {
    let bytes = |number| bytes_of(field.source, number);
    let mut steps = vec![load(field.source)];
    steps.extend(field.mask.map(|mask| bitwise(&bytes(mask))));
    steps.extend(values.iter().map(|value| match *value {
        Value::Number(number) => cmp(equal, &bytes(number)),
        Value::Range(first, last) => {
            let in_order = matches!(field.source, Source::Link(..) | Source::Packet(..));
            assert!(in_order, "the kernel compares the bytes of numbers, the first one first");
            within(equal, &bytes(first), &bytes(last))
        }
        Value::Any(_) => unreachable!("alternatives have no alternatives"),
    }));
    steps
}

/// A number as a register has it that was loaded from there: frames are in network order.
fn bytes_of(source: Source, number: u128) -> Vec<u8> {
    let length = length(source);
    let bytes = number.to_be_bytes();
    let (zeros, bytes) = bytes.split_at(bytes.len() - length);
    assert!(zeros.iter().all(|&byte| byte == 0), "{number:#x} is too large for {source:?}");
    let mut bytes = bytes.to_vec();
    let of_host = matches!(source, Source::FromGroup | Source::ToGroup);
    if of_host && cfg!(target_endian = "little") {
        bytes.reverse();
    }
    bytes
}

/// In bytes.
fn length(source: Source) -> usize {
    match source {
        Source::Link(_, length) | Source::Packet(_, length) => length.min(16) as usize,
        Source::FromGroup | Source::ToGroup => 4,
    }
}

/// `NFTA_PAYLOAD_DREG`, `_BASE`, `_OFFSET`, `_LEN`; `NFTA_META_DREG`, `_KEY`
fn load(source: Source) -> Attribute {
    let payload = |base, offset, length| {
        let numbers = [(1, REGISTER), (2, base), (3, offset), (4, length)];
        expression("payload", numbers.map(|(kind, it)| Attribute::number(kind, it)).into())
    };
    let meta =
        |key| expression("meta", vec![Attribute::number(1, REGISTER), Attribute::number(2, key)]);
    match source {
        // NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER
        Source::Link(offset, length) => payload(0, offset, length),
        Source::Packet(offset, length) => payload(1, offset, length),
        // NFT_META_IIFGROUP, NFT_META_OIFGROUP
        Source::FromGroup => meta(21),
        Source::ToGroup => meta(22),
    }
}

/// `NFTA_BITWISE_SREG`, `_DREG`, `_LEN`, `_MASK`, `_XOR`, `_OP` (`NFT_BITWISE_MASK_XOR`)
fn bitwise(mask: &[u8]) -> Attribute {
    let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    let numbers = [(1, REGISTER), (2, REGISTER), (3, length), (6, 0)];
    let mut all = Vec::from(numbers.map(|(kind, it)| Attribute::number(kind, it)));
    all.extend([data(4, mask), data(5, &vec![0; mask.len()])]);
    expression("bitwise", all)
}

/// `NFTA_CMP_SREG`, `_OP` (`NFT_CMP_EQ`, `NFT_CMP_NEQ`), `_DATA`
fn cmp(equal: bool, bytes: &[u8]) -> Attribute {
    let operation = u32::from(!equal);
    let numbers = [Attribute::number(1, REGISTER), Attribute::number(2, operation)];
    expression("cmp", [&numbers[..], &[data(3, bytes)]].concat())
}

/// `NFTA_RANGE_SREG`, `_OP` (`NFT_RANGE_EQ`, `NFT_RANGE_NEQ`), `_FROM_DATA`, `_TO_DATA`
fn within(equal: bool, first: &[u8], last: &[u8]) -> Attribute {
    let operation = u32::from(!equal);
    let numbers = [Attribute::number(1, REGISTER), Attribute::number(2, operation)];
    expression("range", [&numbers[..], &[data(3, first), data(4, last)]].concat())
}

/// `NFTA_LIMIT_RATE`, `_UNIT` (seconds), `_BURST`, `_TYPE` (`NFT_LIMIT_PKTS`,
/// `NFT_LIMIT_PKT_BYTES`), `_FLAGS` (`NFT_LIMIT_F_INV`: what is over it)
fn limit(rate: u32, burst: u32, unit: Unit) -> Attribute {
    let kind = match unit {
        Unit::Packets => 0,
        Unit::Bytes => 1,
    };
    let longs = [Attribute::long(1, rate.into()), Attribute::long(2, 1)];
    let numbers = [(3, burst), (4, kind), (5, 1)].map(|(kind, it)| Attribute::number(kind, it));
    expression("limit", [&longs[..], &numbers].concat())
}

/// `NFTA_IMMEDIATE_DREG`, `_DATA`
fn immediate(verdict: Verdict) -> Attribute {
    let [code_kind, chain_kind] = CODE_CHAIN;
    let verdict = match verdict {
        Verdict::Accept => vec![Attribute::number(code_kind, ACCEPT)],
        Verdict::Drop => vec![Attribute::number(code_kind, DROP)],
        Verdict::GoTo(chain) => vec![
            Attribute::number(code_kind, GOTO.cast_unsigned()),
            Attribute::text(chain_kind, chain),
        ],
    };
    let data = Attribute::nested(2, vec![Attribute::nested(VALUE_VERDICT[1], verdict)]);
    expression("immediate", vec![Attribute::number(1, VERDICT_REGISTER), data])
}

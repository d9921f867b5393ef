//! What rules are made of: few words of nftables, and each of them only in the form in which `nft`
//! prints it again.

use std::borrow::Cow;

use nftables::expr::{
    BinaryOperation, Expression, NamedExpression, Payload, PayloadBase, PayloadField, PayloadRaw,
    Range, SetItem,
};
use nftables::schema::{Chain, NfCmd, NfListObject, NfObject, Nftables, Rule, Table};
use nftables::stmt::{JumpTarget, Limit, Match, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};

/// Before whatever else looks at frames at the same place.
const PRIORITY: i32 = -500;

/// A table and what is in it.
#[derive(Debug, Clone)]
pub struct Program {
    family: NfFamily,
    table: String,
    chains: Vec<NfListObject<'static>>,
    rules: Vec<NfListObject<'static>>,
}

impl Program {
    /// A table without anything.
    pub fn new(family: NfFamily, table: String) -> Self {
        Self { family, table, chains: Vec::new(), rules: Vec::new() }
    }

    /// Of which family.
    pub fn family(&self) -> NfFamily {
        self.family
    }

    /// What it is called.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// A place that rules go to.
    pub fn chain(&mut self, name: &'static str) -> InChain<'_> {
        let chain = Chain {
            family: self.family,
            table: self.table.clone().into(),
            name: name.into(),
            ..Chain::default()
        };
        self.chains.push(NfListObject::Chain(chain));
        InChain { program: self, chain: name }
    }

    /// A place that the kernel sends frames to: of one interface, or of all. What no rule has
    /// decided about, `policy` does.
    pub fn hook(
        &mut self,
        name: &'static str,
        hook: NfHook,
        interface: Option<&str>,
        policy: NfChainPolicy,
    ) -> InChain<'_> {
        let chain = Chain {
            family: self.family,
            table: self.table.clone().into(),
            name: name.into(),
            _type: Some(NfChainType::Filter),
            hook: Some(hook),
            prio: Some(PRIORITY),
            dev: interface.map(|name| name.to_owned().into()),
            policy: Some(policy),
            ..Chain::default()
        };
        self.chains.push(NfListObject::Chain(chain));
        InChain { program: self, chain: name }
    }

    /// What is in it.
    pub fn contents(&self) -> impl Iterator<Item = &NfListObject<'static>> {
        self.chains.iter().chain(&self.rules)
    }

    /// The order to make it, all at once.
    pub fn order(&self) -> Nftables<'static> {
        let table = NfListObject::Table(Table {
            family: self.family,
            name: self.table.clone().into(),
            handle: None,
        });
        let objects = std::iter::once(&table).chain(self.contents()).cloned();
        Nftables { objects: objects.map(|it| NfObject::CmdObject(NfCmd::Add(it))).collect() }
    }
}

/// The rules of one chain, in their order.
#[derive(Debug)]
pub struct InChain<'a> {
    program: &'a mut Program,
    chain: &'static str,
}

impl InChain<'_> {
    /// One more, and what it is for.
    pub fn rule<const N: usize>(
        &mut self,
        purpose: &'static str,
        statements: [Statement<'static>; N],
    ) -> &mut Self {
        let rule = Rule {
            family: self.program.family,
            table: self.program.table.clone().into(),
            chain: self.chain.into(),
            expr: Vec::from(statements).into(),
            comment: Some(Cow::Borrowed(purpose)),
            ..Rule::default()
        };
        self.program.rules.push(NfListObject::Rule(rule));
        self
    }
}

/// Some bits of a frame.
pub type Field = Expression<'static>;

/// So many bits of the Ethernet header, from that bit on.
pub fn link(offset: u32, len: u32) -> Field {
    field(PayloadBase::LL, offset, len)
}

/// So many bits behind the Ethernet header, from that bit on.
pub fn packet(offset: u32, len: u32) -> Field {
    field(PayloadBase::NH, offset, len)
}

fn field(base: PayloadBase, offset: u32, len: u32) -> Field {
    let raw = Payload::PayloadRaw(PayloadRaw { base, offset, len });
    Expression::Named(NamedExpression::Payload(raw))
}

/// A field that has a name. In one rule there is either this or a [`packet`] field: `nft` gives
/// names to what is beside it.
pub fn named(protocol: &'static str, field: &'static str) -> Field {
    let field = PayloadField { protocol: protocol.into(), field: field.into() };
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)))
}

/// Some bits of it alone.
pub fn masked(field: Field, mask: u32) -> Field {
    let both = BinaryOperation::AND(field, Expression::Number(mask));
    Expression::BinaryOperation(Box::new(both))
}

/// A number of up to 128 bits.
pub fn number(number: u128) -> Expression<'static> {
    match u32::try_from(number) {
        Ok(number) => Expression::Number(number),
        Err(_) => Expression::String(format!("{number:#x}").into()),
    }
}

/// An address.
pub fn address(address: impl Into<String>) -> Expression<'static> {
    Expression::String(address.into().into())
}

/// Any of these: two or more, of which none is next to another.
pub fn any<const N: usize>(all: [Expression<'static>; N]) -> Expression<'static> {
    const { assert!(N > 1, "nft makes a plain comparison of a single one") };
    let items = all.into_iter().map(SetItem::Element).collect();
    Expression::Named(NamedExpression::Set(items))
}

/// Any number from the first to the last.
pub fn range(first: u32, last: u32) -> Expression<'static> {
    let range = [Expression::Number(first), Expression::Number(last)];
    Expression::Range(Box::new(Range { range }))
}

/// Whether it is that. Two in one rule that are next to each other in a frame are to be one.
pub fn is(left: Field, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

/// Whether it is there and is not that. Never two in one rule about neighbours in a frame: `nft`
/// makes "not both" of "neither".
pub fn is_not(left: Field, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::NEQ })
}

/// The frame passes.
pub fn accept() -> Statement<'static> {
    Statement::Accept(None)
}

/// The frame is gone.
pub fn drop() -> Statement<'static> {
    Statement::Drop(None)
}

/// Another chain decides, and this one never again.
pub fn go_to(chain: &'static str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: chain.into() })
}

/// Whether there are more than `rate` of `unit` a second, over a burst.
pub fn over(rate: u32, burst: u32, unit: &'static str) -> Statement<'static> {
    Statement::Limit(Limit {
        rate,
        rate_unit: Some(unit.into()),
        per: Some("second".into()),
        burst: Some(burst),
        burst_unit: Some(unit.into()),
        inv: Some(true),
    })
}

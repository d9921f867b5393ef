//! What rules are made of: few words, of which each means one thing to the kernel.

/// A table and what is in it.
#[derive(Debug, Clone)]
pub struct Program {
    family: Family,
    table: String,
    mark: String,
    chains: Vec<Chain>,
    rules: Vec<Rule>,
}

/// What a table is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Frames of single interfaces.
    NetDev,
    /// What bridges send on.
    Bridge,
}

/// Where the kernel sends frames to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What comes from an interface.
    Ingress,
    /// What goes to one.
    Egress,
    /// From one port of a bridge to another.
    Forward,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
    /// Another chain decides.
    GoTo(&'static str),
}

/// What a chain does with what no rule has decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It passes.
    Accept,
    /// It is gone.
    Drop,
}

/// A place that rules go to.
#[derive(Debug, Clone)]
pub struct Chain {
    /// What it is called.
    pub name: &'static str,
    /// How the kernel comes to it, other than by a rule.
    pub base: Option<Base>,
}

/// A place that the kernel sends frames to.
#[derive(Debug, Clone)]
pub struct Base {
    /// Where.
    pub hook: Hook,
    /// Of which interface; none, of all.
    pub interface: Option<String>,
    /// What becomes of the rest.
    pub policy: Policy,
}

/// What is compared in a chain, and what becomes of what is like that.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Where.
    pub chain: &'static str,
    /// What for: `nft` prints it.
    pub purpose: &'static str,
    /// All of what must be so, and what follows.
    pub statements: Vec<Statement>,
}

impl Program {
    /// A table without anything.
    pub fn new(family: Family, table: String) -> Self {
        Self { family, table, mark: String::new(), chains: Vec::new(), rules: Vec::new() }
    }

    /// With this comment on the table, unless it is empty.
    #[must_use]
    pub fn marked(self, mark: &str) -> Self {
        Self { mark: mark.to_owned(), ..self }
    }

    /// The comment on the table: empty, if there is none.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Of which family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// What it is called.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Its chains.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// Its rules: those of one chain in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A place that rules go to.
    pub fn chain(&mut self, name: &'static str) -> InChain<'_> {
        self.chains.push(Chain { name, base: None });
        InChain { program: self, chain: name }
    }

    /// A place that the kernel sends frames to: of one interface, or of all. What no rule has
    /// decided about, `policy` does.
    pub fn hook(
        &mut self,
        name: &'static str,
        hook: Hook,
        interface: Option<&str>,
        policy: Policy,
    ) -> InChain<'_> {
        let interface = interface.map(ToOwned::to_owned);
        self.chains.push(Chain { name, base: Some(Base { hook, interface, policy }) });
        InChain { program: self, chain: name }
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
        statements: [Statement; N],
    ) -> &mut Self {
        let statements = statements.into();
        self.program.rules.push(Rule { chain: self.chain, purpose, statements });
        self
    }
}

/// Something that is so or not, or what follows.
#[derive(Debug, Clone)]
pub enum Statement {
    /// A comparison.
    Match {
        /// Of what.
        field: Field,
        /// With what.
        value: Value,
        /// Whether it is to be that, or there and not that.
        equal: bool,
    },
    /// More than so many a second, over a burst.
    Over {
        /// How many.
        rate: u32,
        /// How many may come at once.
        burst: u32,
        /// Of what.
        unit: Unit,
    },
    /// What follows.
    Verdict(Verdict),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Frames.
    Packets,
    /// Their bytes.
    Bytes,
}

/// Some bytes of a frame, or what else is known of it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Where it is.
    pub source: Source,
    /// These bits of it alone.
    pub mask: Option<u128>,
}

/// Where a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the Ethernet header: from that byte on, so many.
    Link(u32, u32),
    /// Behind it.
    Packet(u32, u32),
    /// The group of the interface that it comes from.
    FromGroup,
    /// The group of the interface that it goes to.
    ToGroup,
}

/// What a field is compared with.
#[derive(Debug, Clone)]
pub enum Value {
    /// One number, in network order.
    Number(u128),
    /// From the first to the last.
    Range(u128, u128),
    /// Any of these.
    Any(Vec<Value>),
}

/// So many bits of the Ethernet header, from that bit on: whole bytes.
pub fn link(offset: u32, len: u32) -> Field {
    let (offset, len) = in_bytes(offset, len);
    Field { source: Source::Link(offset, len), mask: None }
}

/// So many bits behind the Ethernet header, from that bit on: whole bytes.
pub fn packet(offset: u32, len: u32) -> Field {
    let (offset, len) = in_bytes(offset, len);
    Field { source: Source::Packet(offset, len), mask: None }
}

/// The group of the interface that a frame comes from.
pub fn from_group() -> Field {
    Field { source: Source::FromGroup, mask: None }
}

/// The group of the interface that a frame goes to.
pub fn to_group() -> Field {
    Field { source: Source::ToGroup, mask: None }
}

/// The kernel loads whole bytes, and 16 at most.
fn in_bytes(offset: u32, len: u32) -> (u32, u32) {
    assert!(offset.is_multiple_of(8) && len.is_multiple_of(8) && (8..=128).contains(&len));
    (offset / 8, len / 8)
}

/// Some bits of it alone.
pub fn masked(field: Field, mask: u128) -> Field {
    Field { mask: Some(mask), ..field }
}

/// A number of up to 128 bits.
pub fn number(number: u128) -> Value {
    Value::Number(number)
}

/// Any of these.
pub fn any<const N: usize>(all: [Value; N]) -> Value {
    Value::Any(all.into())
}

/// Any number from the first to the last.
pub fn range(first: u32, last: u32) -> Value {
    Value::Range(first.into(), last.into())
}

/// Whether it is that.
pub fn is(field: Field, value: Value) -> Statement {
    Statement::Match { field, value, equal: true }
}

/// Whether it is there and is not that.
pub fn is_not(field: Field, value: Value) -> Statement {
    Statement::Match { field, value, equal: false }
}

/// The frame passes.
pub fn accept() -> Statement {
    Statement::Verdict(Verdict::Accept)
}

/// The frame is gone.
pub fn drop() -> Statement {
    Statement::Verdict(Verdict::Drop)
}

/// Another chain decides, and this one never again.
pub fn go_to(chain: &'static str) -> Statement {
    Statement::Verdict(Verdict::GoTo(chain))
}

/// Whether there are more than `rate` of `unit` a second, over a burst.
pub fn over(rate: u32, burst: u32, unit: Unit) -> Statement {
    Statement::Over { rate, burst, unit }
}

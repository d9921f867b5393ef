//! Tables, chains and rules as messages of nfnetlink. The numbers are those of
//! `linux/netfilter/nfnetlink.h` and `nf_tables.h`, under whose names they stand here.

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
};

use super::attributes::Attribute;
use super::expressions::{ACCEPT, DROP};
use super::words::{Chain, Family, Hook, Policy, Program};

/// `NFNL_SUBSYS_NFTABLES`
const SUBSYSTEM: u16 = 10;
/// `NFT_MSG_NEWTABLE`
pub const NEW_TABLE: u16 = SUBSYSTEM << 8;
/// `NFT_MSG_GETTABLE`
pub const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
/// `NFT_MSG_DELTABLE`
pub const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
/// `NFT_MSG_NEWCHAIN`
pub const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
/// `NFT_MSG_GETCHAIN`
pub const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
/// `NFT_MSG_NEWRULE`
pub const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
/// `NFT_MSG_GETRULE`
pub const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
/// `NFT_MSG_NEWGEN`
pub const NEW_GENERATION: u16 = SUBSYSTEM << 8 | 15;
/// `NFT_MSG_GETGEN`
pub const GET_GENERATION: u16 = SUBSYSTEM << 8 | 16;
/// `NFNL_MSG_BATCH_BEGIN`
const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`
const BATCH_END: u16 = 0x11;

/// `NFTA_TABLE_NAME`
pub const TABLE_NAME: u16 = 1;
/// `NFTA_TABLE_USERDATA`
pub const TABLE_COMMENT: u16 = 6;
/// `NFTA_GEN_ID`
pub const GENERATION: u16 = 1;
/// `NFTA_CHAIN_NAME`
pub const CHAIN_NAME: u16 = 3;
/// `NFTA_RULE_CHAIN`
pub const RULE_CHAIN: u16 = 2;

/// Before whatever else looks at frames at the same place.
const PRIORITY: i32 = -500;

/// Of a message of netlink.
const HEADER: usize = 16;

/// Of nfnetlink, behind it: `struct nfgenmsg`.
const HEADERS: usize = HEADER + 4;

/// `NFPROTO_NETDEV`, `NFPROTO_BRIDGE`
fn family_number(family: Family) -> u8 {
    match family {
        Family::NetDev => 5,
        Family::Bridge => 7,
    }
}

/// One message.
pub fn message(
    kind: u16,
    flags: u16,
    number: u32,
    family: Family,
    attributes: &[Attribute],
) -> Vec<u8> {
    raw(kind, flags, number, [family_number(family), 0, 0, 0], attributes)
}

fn raw(kind: u16, flags: u16, number: u32, about: [u8; 4], attributes: &[Attribute]) -> Vec<u8> {
    let mut bytes = vec![0; HEADERS + attributes.buffer_len()];
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = number;
    header.emit(&mut bytes[..HEADER]);
    bytes[HEADER..HEADERS].copy_from_slice(&about);
    attributes.emit(&mut bytes[HEADERS..]);
    bytes
}

/// Orders that are carried out together, or not at all.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    family: Family,
    /// What each order is, by its number: the first has [`Batch::FIRST`].
    names: Vec<String>,
    /// Where the last order begins.
    last: usize,
}

impl Batch {
    /// The number of the first order, behind that of the beginning.
    const FIRST: usize = 2;

    /// None yet.
    pub fn new(family: Family) -> Self {
        let bytes = raw(BATCH_BEGIN, 0, 1, border(), &[]);
        Self { bytes, family, names: Vec::new(), last: 0 }
    }

    /// One more, and what it is about.
    pub fn push(&mut self, name: String, kind: u16, flags: u16, attributes: &[Attribute]) {
        let number = self.number();
        self.last = self.bytes.len();
        self.bytes.extend(message(kind, flags, number, self.family, attributes));
        self.names.push(name);
    }

    /// Of the next order.
    fn number(&self) -> u32 {
        u32::try_from(self.names.len() + Self::FIRST).unwrap_or(u32::MAX)
    }

    /// What is sent, and the number of the order that the kernel is to say is carried out: the
    /// last. What it says of others before is that they are not.
    pub fn finish(&mut self) -> (Vec<u8>, u32) {
        let mut bytes = self.bytes.clone();
        let flags = self.last + 6..self.last + 8;
        if let Some(Ok(old)) = bytes.get(flags.clone()).map(<[u8; 2]>::try_from) {
            bytes[flags].copy_from_slice(&(u16::from_ne_bytes(old) | NLM_F_ACK).to_ne_bytes());
        }
        bytes.extend(raw(BATCH_END, 0, self.number(), border(), &[]));
        (bytes, self.number() - 1)
    }

    /// What the order of that number is about.
    pub fn name(&self, number: u32) -> &str {
        let place = usize::try_from(number).ok().and_then(|it| it.checked_sub(Self::FIRST));
        place.and_then(|it| self.names.get(it)).map_or("all of it", String::as_str)
    }
}

/// No family, no version, and which subsystem it is for.
fn border() -> [u8; 4] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}

/// How a table is made: it must not be there.
pub const MADE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// How a rule is made: behind those that are there.
pub const APPENDED: u16 = NLM_F_CREATE | NLM_F_APPEND;

/// `NFTA_TABLE_NAME`, and `_USERDATA`, a comment, if there is one.
pub fn table(program: &Program) -> Vec<Attribute> {
    let mut all = vec![Attribute::text(TABLE_NAME, program.table())];
    if !program.mark().is_empty() {
        all.push(Attribute::bytes(TABLE_COMMENT, &comment(program.mark())));
    }
    all
}

/// What is of those who make tables and rules: a comment, which `nft` prints
/// (`NFTNL_UDATA_TABLE_COMMENT`, `NFTNL_UDATA_RULE_COMMENT`).
pub fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME`
pub fn chain_name(table: &str, name: &str) -> Vec<Attribute> {
    vec![Attribute::text(1, table), Attribute::text(CHAIN_NAME, name)]
}

/// And `NFTA_CHAIN_HOOK`, `_POLICY`, `_TYPE`, `_FLAGS` (`NFT_CHAIN_BASE`).
pub fn chain(table: &str, chain: &Chain) -> Vec<Attribute> {
    /// `NFTA_HOOK_DEVS`: the kernel repeats the single one in it.
    const DEVICES: u16 = 4;
    let mut all = chain_name(table, chain.name);
    let Some(base) = &chain.base else { return all };
    // NF_NETDEV_INGRESS, NF_NETDEV_EGRESS, NF_BR_FORWARD
    let place = match base.hook {
        Hook::Ingress => 0,
        Hook::Egress => 1,
        Hook::Forward => 2,
    };
    let policy = match base.policy {
        Policy::Accept => ACCEPT,
        Policy::Drop => DROP,
    };
    // NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_HOOK_DEV
    let mut hook =
        vec![Attribute::number(1, place), Attribute::number(2, PRIORITY.cast_unsigned())];
    hook.extend(base.interface.iter().map(|name| Attribute::text(3, name)));
    all.extend([
        Attribute::nested_besides(4, hook, &[DEVICES]),
        Attribute::number(5, policy),
        Attribute::text(7, "filter"),
        Attribute::number(10, 1),
    ]);
    all
}

/// `NFTA_RULE_TABLE`, `_CHAIN`, `_EXPRESSIONS`, `_USERDATA`: of the latter a comment.
pub fn rule(
    table: &str,
    chain: &str,
    purpose: &str,
    expressions: Vec<Attribute>,
) -> Vec<Attribute> {
    vec![
        Attribute::text(1, table),
        Attribute::text(RULE_CHAIN, chain),
        Attribute::nested(4, expressions),
        Attribute::bytes(7, &comment(purpose)),
    ]
}

//! What stands in the bytes, and no more.

#![allow(
    clippy::pedantic,
    unused_qualifications,
    missing_docs,
    reason = "expanded by rasn's derives"
)]

use rasn::prelude::*;

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Machine {
    pub(super) id: OctetString,
    pub(super) name: Utf8String,
    /// a machine's `Grant` of the certificate profile
    pub(super) grant: OctetString,
    pub(super) kind: Kind,
    pub(super) image: u64,
    pub(super) chain: SequenceOf<Link>,
    pub(super) leaf: Option<Leaf>,
    pub(super) run: u64,
    pub(super) phase: Phase,
    pub(super) pid: Option<u32>,
    pub(super) started_unix_ms: Option<u64>,
    pub(super) exit: Option<Exit>,
    pub(super) reason: Option<Utf8String>,
    pub(super) in_a_row: u32,
    pub(super) restarts: u32,
    pub(super) output_end: u64,
    pub(super) looked: i64,
    pub(super) probation: Option<Probation>,
    /// one for each network of the grant, in their order; absent before version 4, and when there
    /// are none
    pub(super) interfaces: Option<SequenceOf<Interface>>,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq, Eq, Hash)]
#[rasn(automatic_tags)]
pub(super) struct Interface {
    /// 6 octets
    pub(super) mac: OctetString,
    /// of IPv4
    pub(super) address: Option<Address>,
    /// of IPv6
    pub(super) address6: Option<Address>,
    pub(super) group: Option<u32>,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq, Eq, Hash)]
#[rasn(automatic_tags)]
pub(super) struct Address {
    /// 4 or 16 octets
    pub(super) octets: OctetString,
    /// bits of the subnet
    pub(super) prefix: u8,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, Copy, PartialEq, Eq)]
#[rasn(enumerated)]
pub(super) enum Kind {
    Hvt = 0,
    Spt = 1,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq, Eq, Hash)]
#[rasn(automatic_tags)]
pub(super) struct Link {
    pub(super) label: Utf8String,
    pub(super) issuer: OctetString,
    pub(super) key: OctetString,
    pub(super) serial: OctetString,
    /// a delegation's `Grant` of the certificate profile
    pub(super) grant: OctetString,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Leaf {
    pub(super) label: Utf8String,
    pub(super) issuer: OctetString,
    pub(super) serial: OctetString,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(choice, automatic_tags)]
pub(super) enum Phase {
    Starting(Starting),
    Running(()),
    Stopping(Stop),
    Waiting(u64),
    Queued(()),
    Ended(Ended),
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Starting {
    pub(super) by: StartedBy,
    pub(super) stop: Option<Stop>,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, Copy, PartialEq, Eq)]
#[rasn(enumerated)]
pub(super) enum StartedBy {
    Request = 0,
    Policy = 1,
    Host = 2,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Stop {
    pub(super) timeout_ms: u64,
    pub(super) deadline_unix_ms: Option<u64>,
    pub(super) killed: bool,
    pub(super) gone: bool,
    pub(super) then: Then,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(choice, automatic_tags)]
pub(super) enum Then {
    Stay(()),
    Fail(()),
    Revoke(()),
    Destroy(()),
    Start(()),
    Hold(()),
    Replace(Replace),
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Replace {
    /// a `Machine`
    pub(super) successor: OctetString,
    pub(super) probation_ms: u64,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) place: u64,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, Copy, PartialEq, Eq)]
#[rasn(enumerated)]
pub(super) enum Outcome {
    Stopped = 0,
    Exited = 1,
    Failed = 2,
    Revoked = 3,
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(choice, automatic_tags)]
pub(super) enum Exit {
    Code(u8),
    Signal(u8),
    OutOfMemory(()),
    Unknown(()),
}

#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Probation {
    /// a `Machine`
    pub(super) former: OctetString,
    pub(super) probation_ms: u64,
    pub(super) until_unix_ms: Option<u64>,
}

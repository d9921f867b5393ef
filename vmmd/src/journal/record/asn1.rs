//! What stands in the bytes of everything but machines, and no more.

#![allow(
    clippy::pedantic,
    unused_qualifications,
    missing_docs,
    reason = "expanded by rasn's derives"
)]

use rasn::prelude::*;

/// A revocation list that is in force.
#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct List {
    pub(super) issuer: OctetString,
    pub(super) path: Utf8String,
    /// the content octets of an INTEGER
    pub(super) number: OctetString,
    pub(super) this_update: i64,
    pub(super) next_update: i64,
    /// each after an octet with its length; absent: in a file of its own
    pub(super) serials: Option<OctetString>,
    /// of the list as its issuer has signed it; absent before version 3
    pub(super) sha256: Option<OctetString>,
}

/// What is remembered of a delegation.
#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Delegation {
    pub(super) label: Utf8String,
    pub(super) issuer: OctetString,
    pub(super) key: OctetString,
    pub(super) serial: OctetString,
    /// a `Grant` of the certificate profile
    pub(super) grant: OctetString,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(super) seen_unix_ms: u64,
    pub(super) until: i64,
    pub(super) paths: SequenceOf<Utf8String>,
}

/// An event; its source and number are those of the journal and of its place there.
#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct Recorded {
    pub(super) time_ms: u64,
    pub(super) kind: Utf8String,
    pub(super) path: Utf8String,
    pub(super) machine: Option<Utf8String>,
    pub(super) fields: SequenceOf<Field>,
}

#[derive(AsnType, Encode, Decode, Debug, Clone, PartialEq, Eq, Hash)]
#[rasn(automatic_tags)]
pub(super) struct Field {
    pub(super) name: Utf8String,
    pub(super) value: Utf8String,
}

/// A private network of the host; its name is the key.
#[derive(AsnType, Encode, Decode, Debug)]
#[rasn(automatic_tags)]
pub(super) struct HostNetwork {
    /// of four octets
    pub(super) address: OctetString,
    pub(super) prefix: u8,
    /// absent: any
    pub(super) uplink: Option<Utf8String>,
}

//! The ASN.1 module `VmmGrant` of the certificate profile, field by field.
//!
//! These types say what stands in the bytes and no more; [`super`] turns them into the types of
//! [`crate::resource`], which hold the rules.

// The derives of rasn expand to code with its own idea of style.
#![allow(clippy::pedantic, unused_qualifications, reason = "expanded by rasn's derives")]

use rasn::prelude::*;

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(choice, automatic_tags)]
pub(super) enum Grant {
    Delegation(Delegation),
    Permissions(BitString),
    Machine(Machine),
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Delegation {
    pub(super) generation: u64,
    pub(super) machines: u16,
    pub(super) memory: u32,
    pub(super) cpus: SequenceOf<u16>,
    pub(super) storage: u32,
    pub(super) bridges: SequenceOf<Bridge>,
    pub(super) hosts: Option<SequenceOf<OctetString>>,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Bridge {
    pub(super) name: Ia5String,
    pub(super) range: Option<Range>,
    pub(super) range6: Option<Range>,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Range {
    pub(super) first: OctetString,
    pub(super) last: OctetString,
    pub(super) gateway: OctetString,
    pub(super) prefix: u8,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Machine {
    pub(super) image: Image,
    pub(super) memory: u32,
    pub(super) cpus: SequenceOf<u16>,
    pub(super) networks: SequenceOf<Network>,
    pub(super) volumes: SequenceOf<Volume>,
    pub(super) arguments: SequenceOf<Utf8String>,
    pub(super) restart: Restart,
    pub(super) replace: bool,
    pub(super) priority: u8,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(choice, automatic_tags)]
pub(super) enum Image {
    Embedded(Embedded),
    Digest(Named),
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Embedded {
    pub(super) encoding: Encoding,
    pub(super) size: u32,
    pub(super) data: OctetString,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, Copy, PartialEq)]
#[rasn(enumerated)]
pub(super) enum Encoding {
    Identity = 0,
    Zstd = 1,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Named {
    pub(super) sha256: OctetString,
    pub(super) size: u32,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Network {
    pub(super) device: Ia5String,
    pub(super) bridge: Ia5String,
    pub(super) mac: Option<OctetString>,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct Volume {
    pub(super) device: Ia5String,
    pub(super) volume: Ia5String,
    #[rasn(identifier = "sectorSize")]
    pub(super) sector_size: Option<u32>,
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(choice, automatic_tags)]
pub(super) enum Restart {
    Never(()),
    OnFailure(OnFailure),
    Always(()),
}

#[derive(AsnType, Decode, Encode, Debug, Clone, PartialEq)]
#[rasn(automatic_tags)]
pub(super) struct OnFailure {
    pub(super) codes: SequenceOf<u8>,
    pub(super) limit: u16,
}

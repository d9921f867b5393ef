//! Distinguished names, of any attributes.

use super::der;

/// commonName
pub const COMMON_NAME: &[u128] = &[2, 5, 4, 3];
/// organizationName
pub const ORGANIZATION: &[u128] = &[2, 5, 4, 10];

/// An attribute of a name: its type, and the tag and content octets of its value.
pub type Attribute<'a> = (&'a [u128], u8, &'a [u8]);

/// A distinguished name in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// One commonName as `UTF8String`.
    pub fn common(text: &str) -> Self {
        Self::of(&[&[(COMMON_NAME, der::UTF8_STRING, text.as_bytes())]])
    }

    /// Relative distinguished names in their order, each of one or more attributes.
    pub fn of(parts: &[&[Attribute<'_>]]) -> Self {
        let attribute = |(kind, tag, value): &Attribute<'_>| {
            der::sequence(&[der::oid(kind), der::tlv(*tag, value)])
        };
        let part = |attributes: &&[Attribute<'_>]| {
            der::tlv(der::SET, &attributes.iter().flat_map(attribute).collect::<Vec<_>>())
        };
        Self(der::sequence(&parts.iter().map(part).collect::<Vec<_>>()))
    }
}

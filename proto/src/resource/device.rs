//! Bridges of a delegation and devices of a machine.

use std::fmt;

use super::{AddressRange, Family, MAX_BRIDGES, Misfit, ResourceError};

/// The name of a bridge of the host: 1 to 15 bytes, `[A-Za-z0-9][A-Za-z0-9_.-]*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeName(Box<str>);

impl BridgeName {
    /// Parses a bridge name.
    ///
    /// # Errors
    /// [`ResourceError::BridgeName`]
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let bytes = text.as_bytes();
        let right = (1..=15).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
        if right {
            Ok(Self(text.into()))
        } else {
            Err(ResourceError::BridgeName(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BridgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BridgeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The name by which a guest knows one of its devices: 1 to 67 bytes, `[A-Za-z0-9]+`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(Box<str>);

impl DeviceName {
    /// Parses a device name.
    ///
    /// # Errors
    /// [`ResourceError::DeviceName`]
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        let bytes = text.as_bytes();
        if (1..=67).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_alphanumeric) {
            Ok(Self(text.into()))
        } else {
            Err(ResourceError::DeviceName(text.chars().take(80).collect()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A bridge that a delegation may use. Without a range of a family, addresses of that family are
/// not managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    name: BridgeName,
    range: Option<AddressRange>,
    range6: Option<AddressRange>,
}

impl Bridge {
    /// A bridge with at most one range of each family.
    ///
    /// # Errors
    /// [`super::RangeError::Family`] when a range is of the other family.
    pub fn new(
        name: BridgeName,
        range: Option<AddressRange>,
        range6: Option<AddressRange>,
    ) -> Result<Self, ResourceError> {
        let wrong = range.is_some_and(|range| range.family() != Family::V4)
            || range6.is_some_and(|range| range.family() != Family::V6);
        if wrong { Err(super::RangeError::Family.into()) } else { Ok(Self { name, range, range6 }) }
    }

    /// Its name.
    pub const fn name(&self) -> &BridgeName {
        &self.name
    }

    /// Its IPv4 addresses, when they are managed.
    pub const fn range(&self) -> Option<&AddressRange> {
        self.range.as_ref()
    }

    /// Its IPv6 addresses, when they are managed.
    pub const fn range6(&self) -> Option<&AddressRange> {
        self.range6.as_ref()
    }

    fn fit_in(&self, issuer: &Bridge) -> Result<(), Misfit> {
        for (family, own, issuer) in
            [(Family::V4, self.range, issuer.range), (Family::V6, self.range6, issuer.range6)]
        {
            let why = match (own, issuer) {
                (None, None) => None,
                (Some(own), Some(issuer)) => own.misfit(&issuer),
                (Some(_), None) => Some("the issuer has no range to delegate from"),
                (None, Some(_)) => Some("the issuer has a range, so a part of it must be named"),
            };
            if let Some(why) = why {
                return Err(Misfit::Addresses { bridge: self.name.clone(), family, why });
            }
        }
        Ok(())
    }
}

/// The bridges of a delegation: at most [`MAX_BRIDGES`], each name once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bridges(Vec<Bridge>);

impl Bridges {
    /// Bridges in any order.
    ///
    /// # Errors
    /// [`ResourceError::TooManyBridges`], [`ResourceError::BridgeTwice`]
    pub fn new(bridges: Vec<Bridge>) -> Result<Self, ResourceError> {
        if bridges.len() > MAX_BRIDGES {
            return Err(ResourceError::TooManyBridges(bridges.len()));
        }
        for (index, bridge) in bridges.iter().enumerate() {
            if bridges.iter().take(index).any(|earlier| earlier.name == bridge.name) {
                return Err(ResourceError::BridgeTwice(bridge.name.clone()));
            }
        }
        Ok(Self(bridges))
    }

    /// The bridge of that name.
    pub fn get(&self, name: &BridgeName) -> Option<&Bridge> {
        self.0.iter().find(|bridge| bridge.name == *name)
    }

    /// All of them, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Bridge> {
        self.0.iter()
    }

    pub(super) fn fit_in(&self, issuer: &Bridges) -> Result<(), Misfit> {
        self.iter().try_for_each(|bridge| {
            let above = issuer.get(&bridge.name);
            bridge.fit_in(above.ok_or_else(|| Misfit::Bridge(bridge.name.clone()))?)
        })
    }
}

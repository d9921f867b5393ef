//! What a permission leaf may carry.

use std::fmt;

/// One named bit of the profile's `Permissions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Permission {
    /// All of the others.
    All = 0,
    /// List and look at machines, quotas, host facts.
    Info = 1,
    /// Read consoles, end one's own attachments.
    Console = 2,
    /// Read resource use.
    Statistics = 3,
    /// Read the event log.
    Log = 4,
    /// Deploy a machine described in the request itself.
    Create = 5,
    /// With `create`: take the place of a live machine.
    Replace = 6,
    /// Stop a machine and forget it.
    Destroy = 7,
    /// Keep, list, fetch, delete images.
    Image = 8,
    /// Create, resize, fill, dump, delete volumes.
    Volume = 9,
    /// Hand in CRLs.
    Revoke = 10,
    /// Start, stop, restart, reset what exists.
    Power = 11,
    /// Type into consoles that take input.
    ConsoleInput = 12,
}

impl Permission {
    /// Every permission, in the order of its bits.
    pub const EACH: [Permission; 13] = [
        Self::All,
        Self::Info,
        Self::Console,
        Self::Statistics,
        Self::Log,
        Self::Create,
        Self::Replace,
        Self::Destroy,
        Self::Image,
        Self::Volume,
        Self::Revoke,
        Self::Power,
        Self::ConsoleInput,
    ];

    /// Its name as in the profile.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Info => "info",
            Self::Console => "console",
            Self::Statistics => "statistics",
            Self::Log => "log",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Destroy => "destroy",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Revoke => "revoke",
            Self::Power => "power",
            Self::ConsoleInput => "consoleInput",
        }
    }

    /// The permission of that name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::EACH.into_iter().find(|permission| permission.as_str() == name)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permissions(u16);

impl Permissions {
    /// The set of the given permissions.
    pub fn of(permissions: impl IntoIterator<Item = Permission>) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | 1 << permission as u8))
    }

    /// Whether it holds `permission`, or `all`.
    pub const fn allows(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u8 | 1 << Permission::All as u8) != 0
    }

    /// Whether nothing is in it. No certificate carries an empty set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The permissions in it, as they were given (`all` is one of them, not short for the rest).
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::EACH.into_iter().filter(move |p| self.0 & (1 << *p as u8) != 0)
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Permission::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

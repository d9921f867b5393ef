//! By which name the tender was called: that decides which command line it has, and its messages
//! begin with it.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use vmm_tender_abi::Target;

/// A name of the tender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Program {
    /// Its own.
    VmmTender,
    /// That of Solo5's tender for hvt.
    Solo5Hvt,
    /// That of Solo5's tender for spt.
    Solo5Spt,
    /// That of Solo5's tender for hvt with help for debugging.
    Solo5HvtDebug,
}

/// Written once, at the start; a signal handler reads it.
static CURRENT: AtomicU8 = AtomicU8::new(Program::VmmTender as u8);

impl Program {
    /// The program that is meant by `name`, a path or not. The names that end in the version of
    /// the ABI are those by which some supervisors look for tenders.
    pub(crate) fn called(name: &OsStr) -> Self {
        match Path::new(name).file_name().and_then(OsStr::to_str) {
            Some("solo5-hvt" | "solo5-hvt.2") => Self::Solo5Hvt,
            Some("solo5-hvt-debug") => Self::Solo5HvtDebug,
            Some("solo5-spt" | "solo5-spt.2") => Self::Solo5Spt,
            _ => Self::VmmTender,
        }
    }

    /// Makes it the name in messages.
    pub(crate) fn become_current(self) {
        CURRENT.store(self as u8, Ordering::Relaxed);
    }

    /// The name in messages. May be called in signal handlers.
    pub(crate) fn current() -> Self {
        match CURRENT.load(Ordering::Relaxed) {
            1 => Self::Solo5Hvt,
            2 => Self::Solo5Spt,
            3 => Self::Solo5HvtDebug,
            _ => Self::VmmTender,
        }
    }

    /// The name as text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::VmmTender => "vmm-tender",
            Self::Solo5Hvt => "solo5-hvt",
            Self::Solo5Spt => "solo5-spt",
            Self::Solo5HvtDebug => "solo5-hvt-debug",
        }
    }

    /// The only target of images that this name runs, if there is one.
    pub(crate) fn target(self) -> Option<Target> {
        match self {
            Self::VmmTender => None,
            Self::Solo5Hvt | Self::Solo5HvtDebug => Some(Target::Hvt),
            Self::Solo5Spt => Some(Target::Spt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_path_decides() {
        let called = |name: &str| Program::called(OsStr::new(name)).name();
        assert_eq!(called("/usr/bin/solo5-hvt"), "solo5-hvt");
        assert_eq!(called("solo5-spt.2"), "solo5-spt");
        assert_eq!(called("./solo5-hvt-debug"), "solo5-hvt-debug");
        for other in ["", "vmm-tender", "solo5-spt-debug", "solo5-spt/tender", "tender"] {
            assert_eq!(called(other), "vmm-tender");
        }
    }
}

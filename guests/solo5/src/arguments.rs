//! The command line.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The guest's command line, without the leading words that are for this library. Words are
/// separated by single spaces; there is no quoting, and empty words are skipped.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    line: &'static [u8],
}

impl Arguments {
    /// Takes the leading `--solo5:` words off `line`; the last of them wins.
    pub(crate) fn new(line: &'static [u8]) -> Self {
        let mut words = Words { rest: line };
        loop {
            let line = words.rest;
            let word = words.next().unwrap_or_default();
            if let Some(verbosity) = Verbosity::from_word(word) {
                VERBOSITY.store(verbosity as u8, Ordering::Relaxed);
            } else if word == b"--solo5:no-net-ring" {
                NET_RING_WANTED.store(false, Ordering::Relaxed);
            } else {
                return Self { line };
            }
        }
    }

    /// All words, in order. They are bytes: nothing says that they are UTF-8.
    pub fn words(self) -> Words {
        Words { rest: self.line }
    }

    /// What stands behind `prefix` in the first word that begins with it.
    pub fn value_of(self, prefix: &str) -> Option<&'static [u8]> {
        self.words().find_map(|word| word.strip_prefix(prefix.as_bytes()))
    }

    /// Like [`Arguments::value_of`], as a decimal number. A word that is no number ends the guest
    /// with a message and status 64.
    pub fn number_of(self, prefix: &str) -> Option<u64> {
        let word = self.value_of(prefix)?;
        let number = core::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        if number.is_none() {
            crate::println!("{prefix} wants a decimal number");
            crate::exit(64);
        }
        number
    }
}

/// Words of a command line.
#[derive(Clone, Debug)]
pub struct Words {
    rest: &'static [u8],
}

impl Iterator for Words {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        let start = self.rest.iter().position(|&byte| byte != b' ')?;
        let word = &self.rest[start..];
        let end = word.iter().position(|&byte| byte == b' ').unwrap_or(word.len());
        self.rest = &word[end..];
        Some(&word[..end])
    }
}

/// How much this library says on the console by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verbosity {
    /// Errors only: `--solo5:quiet` or `--solo5:error`.
    Error = 0,
    /// `--solo5:warn`.
    Warn = 1,
    /// The default, `--solo5:info`.
    Info = 2,
    /// Memory layout at the start, too: `--solo5:debug`.
    Debug = 3,
}

static NET_RING_WANTED: AtomicBool = AtomicBool::new(true);

/// Whether the network ring shall be used where it is offered.
#[cfg_attr(solo5_spt, expect(dead_code, reason = "there is none"))]
pub(crate) fn net_ring_wanted() -> bool {
    NET_RING_WANTED.load(Ordering::Relaxed)
}

static VERBOSITY: AtomicU8 = AtomicU8::new(Verbosity::Info as u8);

impl Verbosity {
    fn from_word(word: &[u8]) -> Option<Self> {
        match word.strip_prefix(b"--solo5:")? {
            b"quiet" | b"error" => Some(Self::Error),
            b"warn" => Some(Self::Warn),
            b"info" => Some(Self::Info),
            b"debug" => Some(Self::Debug),
            _ => None,
        }
    }
}

/// What the command line asked for.
pub fn verbosity() -> Verbosity {
    match VERBOSITY.load(Ordering::Relaxed) {
        0 => Verbosity::Error,
        1 => Verbosity::Warn,
        3 => Verbosity::Debug,
        _ => Verbosity::Info,
    }
}

//! What the kernel's settings say of one interface: whether packets that arrive there may be passed
//! on. They are those of this process's own network namespace.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// A setting cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("{path:?} cannot be {what}: {why}")]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    why: io::Error,
}

impl Error {
    /// Whether there is no such interface (any more).
    pub fn is_gone(&self) -> bool {
        self.why.kind() == io::ErrorKind::NotFound
    }
}

/// The file of a setting. The name is one of an interface: without a slash, and not `..`.
fn path(family: &str, interface: &str, setting: &str) -> PathBuf {
    ["/proc/sys/net", family, "conf", interface, setting].iter().collect()
}

/// Whether IPv4 packets that arrive at this interface are passed on.
///
/// # Errors
/// There is no such interface.
pub fn is_on(interface: &str) -> Result<bool, Error> {
    let path = path("ipv4", interface, "forwarding");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim() != "0"),
        Err(why) => Err(Error { what: "read", path, why }),
    }
}

/// Has them passed on, or not.
///
/// # Errors
/// There is no such interface, or this process may not.
pub fn switch(interface: &str, on: bool) -> Result<(), Error> {
    write(path("ipv4", interface, "forwarding"), if on { "1" } else { "0" })
}

/// Has the host take no part in IPv6 on this interface. Done, where there is no IPv6 at all.
///
/// # Errors
/// This process may not.
pub fn without_ipv6(interface: &str) -> Result<(), Error> {
    match write(path("ipv6", interface, "disable_ipv6"), "1") {
        Err(error) if error.is_gone() => Ok(()),
        done => done,
    }
}

fn write(path: PathBuf, value: &str) -> Result<(), Error> {
    // What is so already is left alone.
    if fs::read_to_string(&path).is_ok_and(|text| text.trim() == value) {
        return Ok(());
    }
    // Never made: a setting is there, or its interface is not.
    let written = fs::OpenOptions::new().write(true).open(&path);
    let written = written.and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|why| Error { what: "changed", path, why })
}

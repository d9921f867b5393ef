//! File descriptors that were inherited, named by number as `@N`.
#![allow(unsafe_code, reason = "only the kernel knows what is behind an inherited number")]

use std::fmt;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::fcntl_getfd;

use crate::Error;

/// Number of an inherited descriptor; 0 to 2 are the standard streams and never meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DescriptorNumber(RawFd);

impl DescriptorNumber {
    /// Parses `@N`; `None` when the text does not begin with `@`.
    ///
    /// # Errors
    /// What follows is not a number from 3 on.
    pub fn parse(text: &str) -> Option<Result<Self, Error>> {
        let number = text.strip_prefix('@')?;
        let valid = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|&number| valid && number >= 3);
        Some(number.map(Self).ok_or_else(|| Error::DescriptorNumber(text.to_owned())))
    }

    /// Whether it is open. To be asked before this process opens anything: what is open then was
    /// inherited, and what is not could later be anything.
    ///
    /// # Errors
    /// It is not.
    pub(crate) fn check_open(self) -> Result<(), Error> {
        // SAFETY: the kernel is asked whether it is open, and nothing else.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.0) };
        fcntl_getfd(borrowed).map_err(|_| Error::DescriptorNotOpen(self))?;
        Ok(())
    }

    /// Takes the descriptor over: it is closed when the result is dropped.
    ///
    /// # Errors
    /// It is not open.
    pub(crate) fn take(self) -> Result<OwnedFd, Error> {
        self.check_open()?;
        // SAFETY: it is open, and belongs to nobody: it was open before this process opened
        // anything (the status, KVM and the image are taken first, and `run` asks for the devices
        // before), and both command lines refuse the same number for two purposes.
        Ok(unsafe { OwnedFd::from_raw_fd(self.0) })
    }
}

impl fmt::Display for DescriptorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_from_3_on_are_descriptors() {
        assert!(DescriptorNumber::parse("image").is_none());
        assert_eq!(DescriptorNumber::parse("@3").unwrap().unwrap().to_string(), "@3");
        for bad in ["@", "@2", "@-3", "@+3", "@3x", "@99999999999"] {
            let error = DescriptorNumber::parse(bad).unwrap().unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }
}

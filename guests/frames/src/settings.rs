//! The arguments that MirageOS takes for a network interface.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// What the arguments say of one interface: `--ipv4=A/P`, `--ipv4-gateway=A`, `--ipv6=A/P`, or with
/// the interface's name, `--NAME-ipv4=A/P`. The last word about a thing is what holds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Address and length of the network's prefix.
    pub ipv4: Option<(Ipv4Addr, u8)>,
    /// Where packets for other networks go.
    pub gateway: Option<Ipv4Addr>,
    /// Address and length of the network's prefix.
    pub ipv6: Option<(Ipv6Addr, u8)>,
}

/// A word that is for the interface, and no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreadable<'a>(pub &'a [u8]);

impl Settings {
    /// Reads them off `words`. Words without a name count if the interface is the `only` one.
    ///
    /// # Errors
    /// The word that cannot be read.
    pub fn read<'a>(
        words: impl Iterator<Item = &'a [u8]>,
        name: &str,
        only: bool,
    ) -> Result<Self, Unreadable<'a>> {
        let mut settings = Self::default();
        for word in words {
            let Some(rest) = word.strip_prefix(b"--") else { continue };
            let named = rest.strip_prefix(name.as_bytes());
            let named = named.and_then(|rest| rest.strip_prefix(b"-"));
            let Some(rest) = named.or(only.then_some(rest)) else { continue };
            settings.take(rest).ok_or(Unreadable(word))?;
        }
        Ok(settings)
    }

    /// `None` if it is ours and cannot be read.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        if let Some(value) = word.strip_prefix(b"ipv4=") {
            self.ipv4 = Some(network(value, 32)?);
        } else if let Some(value) = word.strip_prefix(b"ipv4-gateway=") {
            self.gateway = Some(parsed(value)?);
        } else if let Some(value) = word.strip_prefix(b"ipv6=") {
            self.ipv6 = Some(network(value, 128)?);
        }
        Some(())
    }

    /// Who is asked for the hardware address on the way to `to`: itself, or the gateway.
    pub fn next_hop(&self, to: Ipv4Addr) -> Option<Ipv4Addr> {
        let (own, prefix) = self.ipv4?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        let near = own.to_bits() & mask == to.to_bits() & mask;
        if near { Some(to) } else { self.gateway }
    }
}

fn parsed<T: FromStr>(text: &[u8]) -> Option<T> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// `A/P`.
fn network<T: FromStr>(text: &[u8], longest: u8) -> Option<(T, u8)> {
    let (address, prefix) = core::str::from_utf8(text).ok()?.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest)?;
    Some((address.parse().ok()?, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(words: &[&'a str], only: bool) -> Result<Settings, Unreadable<'a>> {
        Settings::read(words.iter().map(|word| word.as_bytes()), "service", only)
    }

    #[test]
    fn words_are_taken_with_and_without_the_name() {
        let plain = ["--ipv4=10.0.0.2/24", "--ipv4-gateway=10.0.0.1", "--ipv6=fd00::2/64"];
        let named = plain.map(|word| word.replace("--", "--service-"));
        let all = read(&plain, true).unwrap();
        assert_eq!(all.ipv4, Some((Ipv4Addr::new(10, 0, 0, 2), 24)));
        assert_eq!(all.gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(all.ipv6, Some(("fd00::2".parse().unwrap(), 64)));
        let named: Vec<&str> = named.iter().map(String::as_str).collect();
        assert_eq!(read(&named, false), Ok(all));
        assert_eq!(read(&named, true), Ok(all));
        assert_eq!(read(&plain, false), Ok(Settings::default()));
        assert_eq!(read(&["--other-ipv4=10.0.0.2/24"], true), Ok(Settings::default()));
    }

    #[test]
    fn what_is_no_address_is_named() {
        for word in ["--ipv4=10.0.0.2", "--ipv4=10.0.0.2/33", "--ipv6=::1/129", "--ipv4-gateway=x"]
        {
            assert_eq!(read(&["one", word], true), Err(Unreadable(word.as_bytes())));
        }
    }

    #[test]
    fn others_are_reached_through_the_gateway() {
        let settings = read(&["--ipv4=10.0.0.2/24", "--ipv4-gateway=10.0.0.1"], true).unwrap();
        let (near, far) = (Ipv4Addr::new(10, 0, 0, 200), Ipv4Addr::new(10, 0, 1, 1));
        assert_eq!(settings.next_hop(near), Some(near));
        assert_eq!(settings.next_hop(far), settings.gateway);
        assert_eq!(read(&["--ipv4=10.0.0.2/0"], true).unwrap().next_hop(far), Some(far));
    }
}

//! The names of taps on the host.

use std::fmt;

use crate::id::MachineId;

/// The name of the host's end of a machine's network interface: 15 bytes, `vm` and lower-case
/// letters and digits. It follows from the machine and the place of the interface among its others,
/// so that nobody has to be told it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapName([u8; Self::LENGTH]);

/// Without letters that are taken for digits. The names of all taps of a machine have the same
/// first 13 bytes.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl TapName {
    /// What the names of all taps begin with.
    pub const PREFIX: &'static str = "vm";

    /// Bytes of a name: as many as the kernel allows.
    pub const LENGTH: usize = 15;

    /// The name of one of a machine's taps, the first of which has index 0; at most 1024.
    pub fn of(machine: MachineId, index: u16) -> Self {
        let mut name = [0; Self::LENGTH];
        name[..2].copy_from_slice(Self::PREFIX.as_bytes());
        // 55 bits of bytes that have no fixed ones in a UUID of version 4: all of them random.
        let mut random = [0; 8];
        random[1] = machine.0[15];
        random[2..].copy_from_slice(&machine.0[..6]);
        let bits = u64::from_be_bytes(random);
        for (place, digit) in name[2..13].iter_mut().rev().enumerate() {
            *digit = digit_of(bits >> (5 * place));
        }
        name[13] = digit_of(u64::from(index) >> 5);
        name[14] = digit_of(u64::from(index));
        Self(name)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // All of its bytes are out of two sets of ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The digit for the lowest five bits.
fn digit_of(bits: u64) -> u8 {
    DIGITS[(bits & 31) as usize]
}

impl fmt::Display for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_is_as_long_as_the_kernel_allows_and_the_same_each_time() {
        let machine = MachineId([0xAB; 16]);
        let name = TapName::of(machine, 1023);
        assert_eq!(name.as_str(), "vmaxbnentqaxbzz");
        assert_eq!(name, TapName::of(machine, 1023));
    }

    #[test]
    fn names_differ_in_the_machine_and_in_the_place() {
        let machines = (0..=255).map(|byte| {
            let mut id = [7; 16];
            id[usize::from(byte % 6)] = byte;
            MachineId(id)
        });
        let machines: BTreeSet<_> = machines.collect();
        let names: BTreeSet<_> = machines
            .iter()
            .flat_map(|machine| (0..63).map(|index| TapName::of(*machine, index)))
            .collect();
        assert_eq!(names.len(), machines.len() * 63);
    }
}

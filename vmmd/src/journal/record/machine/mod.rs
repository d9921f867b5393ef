//! Machines that are kept.
//!
//! What a machine is, is stored as the grant that it could have been deployed with; machines that
//! come with another one, as records of their own within its record.

mod asn1;
mod from_asn1;
mod to_asn1;

#[cfg(test)]
mod tests;

use vmm_engine::KeptMachine;

/// How deep machines may stand in each other: there is one that takes another one's place, and one
/// whose place was taken. What is deeper was not written here.
const DEPTH: usize = 16;

/// A machine, in DER.
///
/// # Errors
/// When it cannot be encoded.
pub(in crate::journal) fn machine_to_der(machine: &KeptMachine) -> anyhow::Result<Vec<u8>> {
    to_asn1::to_der(machine)
}

/// A machine, from DER.
///
/// # Errors
/// When it is not what [`machine_to_der`] makes.
pub(in crate::journal) fn machine(der: &[u8]) -> anyhow::Result<KeptMachine> {
    from_asn1::machine(der, DEPTH)
}

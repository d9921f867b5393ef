//! Whether the kernel has Landlock, which the tender applies to itself.
#![allow(unsafe_code, reason = "asking for the version has no safe wrapper of its own")]

/// Asks for the version instead of making a set of rules.
const VERSION: u32 = 1;

/// The version of Landlock that the kernel offers; 0 where it has none or has it switched off.
pub fn version() -> u32 {
    let nothing = std::ptr::null::<u8>();
    // SAFETY: with this flag the kernel reads no memory and changes nothing.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

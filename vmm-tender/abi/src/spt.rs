//! The seccomp process target: a guest in a process, which may make a handful of system calls
//! (the Solo5 spt ABI, section 4).

use crate::bytes::put;

/// First mapped address; everything below stays unmapped.
pub const MEMORY_FLOOR: u64 = 0x1_0000;

/// Where the boot information stands; the manifest follows, then the command line.
pub const BOOT_INFO_ADDRESS: u64 = 0x1_1000;

/// Size of the boot information.
pub const BOOT_INFO_SIZE: usize = 40;

/// The `data` of the timer's event in the guest's epoll set: no handle.
pub const TIMER_EVENT: u64 = 0xFFFF_FFFE;

/// What a guest is told at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BootInfo {
    /// End of guest memory.
    pub mem_size: u64,
    /// End of the last loaded segment.
    pub kernel_end: u64,
    /// Address of the NUL-terminated command line.
    pub command_line: u64,
    /// Address of the manifest.
    pub manifest: u64,
    /// Descriptor of the epoll set with the timer and all network devices.
    pub epoll_fd: i32,
    /// Descriptor of the monotonic timer.
    pub timer_fd: i32,
}

impl BootInfo {
    /// As it stands at [`BOOT_INFO_ADDRESS`].
    pub fn encode(&self) -> [u8; BOOT_INFO_SIZE] {
        let mut out = [0; BOOT_INFO_SIZE];
        put(&mut out, 0, &self.mem_size.to_le_bytes());
        put(&mut out, 8, &self.kernel_end.to_le_bytes());
        put(&mut out, 16, &self.command_line.to_le_bytes());
        put(&mut out, 24, &self.manifest.to_le_bytes());
        put(&mut out, 32, &self.epoll_fd.to_le_bytes());
        put(&mut out, 36, &self.timer_fd.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_info_has_the_layout_of_the_abi() {
        let info = BootInfo {
            mem_size: 0x0102_0304_0506_0708,
            kernel_end: 2,
            command_line: 3,
            manifest: 4,
            epoll_fd: 5,
            timer_fd: -1,
        };
        let mut expected = [0; 40];
        expected[..8].copy_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        (expected[8], expected[16], expected[24], expected[32]) = (2, 3, 4, 5);
        expected[36..].fill(0xFF);
        assert_eq!(info.encode(), expected);
    }
}

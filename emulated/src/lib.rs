//! Programs of this host in an emulated PC: another kernel under them, with all of it that they
//! may want to break, and processor features that the host itself does not offer its programs,
//! such as hardware virtualization.
//!
//! ```text
//! Emulated::find ── what is missing, and where it comes from
//!   └ boot(files, jobs): an initial file system ([`Files`]) with the init of this crate
//!       └ QEMU, without KVM ── the kernel ── init: one job after the other
//!   ◀ End of each job: status, output
//! ```
//!
//! The file system is made of files and programs of the host, which come with their libraries.
//! There is no disk and no network; what the jobs do is gone when they have ended.

#![forbid(unsafe_code)]

mod archive;
mod files;
mod init;
mod kernel;
mod machine;
pub mod protocol;

pub use files::Files;
pub use init::build_init;
pub use kernel::{Kernel, fetch_kernel};
pub use machine::{Emulated, Missing};
pub use protocol::{End, Job};

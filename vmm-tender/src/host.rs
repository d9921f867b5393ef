//! What a tender changes about its own process.

use rustix::process::{Resource, Rlimit, setrlimit, setsid};
use rustix::system::sysinfo;

use crate::{Error, sys};

/// Leaves the session of whoever started the tender: its terminal, its core files and its
/// blocked signals are not for machines.
pub(crate) fn leave_session() -> Result<(), Error> {
    setsid().map_err(Error::host("begin a new session"))?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(Error::host("forbid core files"))?;
    sys::unblock_all_signals().map_err(Error::host("unblock signals"))
}

/// Bytes of memory of the host, with its swap space. A guest that is promised more would be ended
/// without a word when it comes to use that.
pub(crate) fn memory() -> u64 {
    let info = sysinfo();
    (info.totalram.saturating_add(info.totalswap)).saturating_mul(info.mem_unit.into())
}

/// Refuses to run where every readable page would be executable.
pub(crate) fn check_personality() -> Result<(), Error> {
    const READ_IMPLIES_EXEC: u32 = 0x0040_0000;
    let personality = sys::personality().map_err(Error::host("read the personality"))?;
    if personality & READ_IMPLIES_EXEC != 0 {
        return Err(Error::ReadImpliesExec);
    }
    Ok(())
}

//! Block devices: files or block devices of the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fcntl_getfl, fstat, open, seek};
use rustix::io::{Errno, pread, pwrite};
use vmm_tender_abi::DeviceName;
use vmm_tender_abi::hypercall::CallResult;

use super::DeviceError;
use super::options::{BlockSource, SectorSize};
use crate::Error;

/// An attached block device.
pub(crate) struct Disk {
    fd: OwnedFd,
    capacity: u64,
    block_size: u16,
}

impl Disk {
    /// Attaches `source` to the device `name`.
    pub(super) fn attach(
        name: DeviceName,
        source: BlockSource,
        sector_size: SectorSize,
    ) -> Result<Self, Error> {
        let fd = match source {
            BlockSource::Path(path) => {
                open(&path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
                    .map_err(|error| DeviceError::OpenBlock { path, error })?
            }
            BlockSource::Descriptor(number) => number.take()?,
        };
        check(name, fd.as_fd())?;
        let capacity = seek(&fd, SeekFrom::End(0)).map_err(|error| DeviceError::Host {
            name,
            what: "find out the capacity of block",
            error,
        })?;
        let block_size = sector_size.bytes();
        if capacity % u64::from(block_size) != 0 {
            return Err(DeviceError::NotAligned { name, block_size, capacity }.into());
        }
        if capacity == 0 {
            return Err(DeviceError::Empty { name, block_size }.into());
        }
        Ok(Self { fd, capacity, block_size })
    }

    /// Size in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Size of a block in bytes.
    pub(crate) fn block_size(&self) -> u16 {
        self.block_size
    }

    /// Whether `len` bytes at `offset` are on the device (the Solo5 hvt ABI, section 3.8).
    pub(crate) fn has(&self, offset: u64, len: u64) -> bool {
        len <= i64::MAX.cast_unsigned()
            && offset < self.capacity
            && offset.checked_add(len).is_some_and(|end| end <= self.capacity)
    }

    /// Reads all of `room` from `offset` on.
    pub(crate) fn read(&self, mut offset: u64, mut room: &mut [u8]) -> CallResult {
        while !room.is_empty() {
            match pread(&self.fd, &mut *room, offset) {
                // The file has become shorter.
                Ok(0) => return CallResult::Unspecified,
                Ok(len) => {
                    offset += len as u64;
                    room = &mut room[len..];
                }
                Err(Errno::INTR) => {}
                Err(_) => return CallResult::Unspecified,
            }
        }
        CallResult::Ok
    }

    /// Writes all of `bytes` from `offset` on.
    pub(crate) fn write(&self, mut offset: u64, mut bytes: &[u8]) -> CallResult {
        while !bytes.is_empty() {
            match pwrite(&self.fd, bytes, offset) {
                Ok(len) if len > 0 => {
                    offset += len as u64;
                    bytes = &bytes[len..];
                }
                Err(Errno::INTR) => {}
                Ok(_) | Err(_) => return CallResult::Unspecified,
            }
        }
        CallResult::Ok
    }
}

impl AsFd for Disk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Refuses what cannot be read and written at any offset.
fn check(name: DeviceName, fd: BorrowedFd<'_>) -> Result<(), Error> {
    let host = |what| move |error| DeviceError::Host { name, what, error };
    let stat = fstat(fd).map_err(host("examine block"))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile && kind != FileType::BlockDevice {
        let reason = "a regular file or a block device is wanted";
        return Err(DeviceError::Block { name, reason }.into());
    }
    let flags = fcntl_getfl(fd).map_err(host("examine block"))?;
    if flags & OFlags::RWMODE != OFlags::RDWR {
        let reason = "it is not open for reading and writing";
        return Err(DeviceError::Block { name, reason }.into());
    }
    if flags.contains(OFlags::APPEND) {
        let reason = "it is open for appending, which ignores offsets";
        return Err(DeviceError::Block { name, reason }.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(capacity: u64) -> (Disk, tempfile::NamedTempFile) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(capacity).unwrap();
        let name = DeviceName::new("storage").unwrap();
        let source = BlockSource::Path(file.path().into());
        (Disk::attach(name, source, SectorSize::DEFAULT).unwrap(), file)
    }

    #[test]
    fn ranges_end_with_the_device() {
        let (disk, _file) = disk(4096);
        assert!(disk.has(0, 4096) && disk.has(3584, 512) && disk.has(4072, 24) && disk.has(0, 0));
        assert!(!disk.has(4096, 0) && !disk.has(4095, 2) && !disk.has(u64::MAX, 1));
        assert!(!disk.has(512, u64::MAX - 511) && !disk.has(0, 1 << 63) && !disk.has(1, u64::MAX));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let (disk, _file) = disk(4096);
        assert_eq!(disk.write(512, b"hello"), CallResult::Ok);
        let mut room = [0; 5];
        assert_eq!(disk.read(512, &mut room), CallResult::Ok);
        assert_eq!(&room, b"hello");
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_for_the_guest() {
        let (disk, file) = disk(4096);
        file.as_file().set_len(1024).unwrap();
        assert_eq!(disk.read(512, &mut [0; 1024]), CallResult::Unspecified);
    }
}

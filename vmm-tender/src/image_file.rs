//! The file that an image is in.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, pread};
use vmm_tender_abi::{ReadAt, ReadError};

use crate::Error;
use crate::descriptors::DescriptorNumber;

/// Where the image is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageSource {
    /// In a file.
    Path(PathBuf),
    /// In a file that is open already. Its position is neither used nor changed.
    Descriptor(DescriptorNumber),
}

/// An open image; closed when dropped.
pub(crate) struct ImageFile {
    file: OwnedFd,
    size: u64,
}

impl ImageFile {
    pub(crate) fn open(source: ImageSource) -> Result<Self, Error> {
        let file = match source {
            ImageSource::Descriptor(number) => number.take()?,
            ImageSource::Path(path) => {
                // Not blocking: a named pipe is refused below instead of waited for.
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
                open(&path, flags, Mode::empty())
                    .map_err(|error| Error::OpenImage { path, error })?
            }
        };
        let stat = fstat(&file).map_err(Error::host("examine the image"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotAFile);
        }
        Ok(Self { file, size: stat.st_size.cast_unsigned() })
    }
}

impl AsFd for ImageFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl ReadAt for ImageFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let mut done = 0;
        while done < buf.len() {
            // No file reaches up there, and the kernel takes signed offsets.
            let Some(at) = offset.checked_add(done as u64).filter(|at| at.cast_signed() >= 0)
            else {
                break;
            };
            match pread(&self.file, &mut buf[done..], at) {
                Ok(0) => break,
                Ok(len) => done += len,
                Err(Errno::INTR) => {}
                Err(error) => return Err(ReadError { errno: error.raw_os_error() }),
            }
        }
        Ok(done)
    }

    fn size(&self) -> Result<u64, ReadError> {
        Ok(self.size)
    }
}

//! The writer's side of a console ring; [`vmm_proto::ring`] has the layout.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pwrite, write};
use vmm_proto::ring::{self, CLAIMED, WRITTEN};

/// What a machine has written to its console: the newest bytes, and how many there were in all.
#[derive(Debug)]
pub struct Ring {
    /// Shared with the packets that carry them and wait to be sent.
    file: Rc<OwnedFd>,
    grown: Rc<OwnedFd>,
    written: u64,
    /// What the kernel had no memory for when it was appended. It comes before everything else.
    unwritten: Vec<u8>,
}

impl Ring {
    /// An empty ring. Its size is sealed, so that a reader can rely on it.
    ///
    /// # Errors
    /// No descriptors or no memory.
    pub fn new() -> Result<Self, Errno> {
        let file = memfd_create("console", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, ring::FILE_SIZE)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let grown = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let ring =
            Self { file: Rc::new(file), grown: Rc::new(grown), written: 0, unwritten: Vec::new() };
        ring.store(CLAIMED, 0)?;
        ring.store(WRITTEN, 0)?;
        Ok(ring)
    }

    /// The descriptors for a reader: the ring, and the eventfd.
    pub fn descriptors(&self) -> Vec<Rc<OwnedFd>> {
        vec![Rc::clone(&self.file), Rc::clone(&self.grown)]
    }

    /// How many bytes were ever written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes were appended and are not yet in the ring.
    pub fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Appends `data`, of any length, and tells the reader.
    ///
    /// # Errors
    /// The kernel has no memory for it. Nothing is lost: the next call, also one with no data,
    /// begins with what could not be written.
    pub fn append(&mut self, data: &[u8]) -> Result<(), Errno> {
        let appended = if self.unwritten.is_empty() {
            self.append_all(data)
        } else {
            let mut earlier = std::mem::take(&mut self.unwritten);
            earlier.extend_from_slice(data);
            self.append_all(&earlier)
        };
        self.tell()?;
        appended
    }

    fn tell(&self) -> Result<(), Errno> {
        match write(&*self.grown, &1u64.to_ne_bytes()) {
            // At its limit it is readable, which is all it has to say.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn append_all(&mut self, data: &[u8]) -> Result<(), Errno> {
        // One lap at most at a time, or a piece would overwrite itself.
        let mut laps = data.chunks(usize::try_from(ring::CAPACITY).unwrap_or(usize::MAX));
        while let Some(lap) = laps.next() {
            if let Err(error) = self.append_lap(lap) {
                self.unwritten = lap.to_vec();
                laps.for_each(|lap| self.unwritten.extend_from_slice(lap));
                return Err(error);
            }
        }
        Ok(())
    }

    fn append_lap(&mut self, lap: &[u8]) -> Result<(), Errno> {
        let length = lap.len() as u64;
        let end = self.written + length;
        self.store(CLAIMED, end)?;
        let mut rest = lap;
        for (offset, length) in ring::pieces(self.written, length) {
            let (piece, after) = rest.split_at(usize::try_from(length).unwrap_or(rest.len()));
            write_all_at(&self.file, piece, offset)?;
            rest = after;
        }
        self.store(WRITTEN, end)?;
        self.written = end;
        Ok(())
    }

    fn store(&self, offset: u64, counter: u64) -> Result<(), Errno> {
        write_all_at(&self.file, &ring::encode_counter(counter), offset)
    }
}

fn write_all_at(file: &OwnedFd, mut data: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match pwrite(file, data, offset) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::{pread, read};
    use vmm_proto::ring::{CAPACITY, DATA, decode_counter, oldest};

    use super::*;

    fn counter(ring: &Ring, offset: u64) -> u64 {
        let mut bytes = [0; 16];
        assert_eq!(pread(&*ring.file, &mut bytes, offset).unwrap(), 16);
        decode_counter(bytes).unwrap()
    }

    fn byte(ring: &Ring, position: u64) -> u8 {
        let mut bytes = [0];
        pread(&*ring.file, &mut bytes, DATA + position % CAPACITY).unwrap();
        bytes[0]
    }

    #[test]
    fn the_newest_bytes_are_kept_and_all_are_counted() {
        let mut ring = Ring::new().unwrap();
        let mut total = 0;
        for length in [1, 4095, 65536, 200_000, 262_144, 600_001] {
            let data: Vec<u8> =
                (0..length).map(|n| u8::try_from((total + n) % 251).unwrap()).collect();
            ring.append(&data).unwrap();
            total += length;
            assert_eq!((counter(&ring, CLAIMED), counter(&ring, WRITTEN)), (total, total));
            assert_eq!(ring.written(), total);
            for position in (oldest(total)..total).step_by(97) {
                assert_eq!(u64::from(byte(&ring, position)), position % 251, "{position}");
            }
        }
    }

    #[test]
    fn a_reader_is_told_and_told_again() {
        let mut ring = Ring::new().unwrap();
        let mut bytes = [0; 8];
        assert_eq!(read(&*ring.grown, &mut bytes), Err(Errno::AGAIN));
        ring.append(b"a").unwrap();
        ring.append(b"b").unwrap();
        assert_eq!(read(&*ring.grown, &mut bytes), Ok(8));
        assert_eq!(read(&*ring.grown, &mut bytes), Err(Errno::AGAIN));
    }

    #[test]
    fn its_size_cannot_be_changed() {
        let ring = Ring::new().unwrap();
        assert_eq!(ftruncate(&*ring.file, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&*ring.file, ring::FILE_SIZE + 1), Err(Errno::PERM));
        let more = fcntl_add_seals(&*ring.file, SealFlags::WRITE);
        assert_eq!(more, Err(Errno::PERM));
    }
}

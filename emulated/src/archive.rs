//! Archives in the format `newc` of cpio, which a Linux kernel unpacks into its first file system.

use std::io::{self, Write};

/// What an entry is, as in `st_mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Directory,
    File { executable: bool },
    CharacterDevice { major: u32, minor: u32 },
}

impl Kind {
    fn mode(self) -> u32 {
        match self {
            Self::Directory => 0o040_755,
            Self::File { executable: true } => 0o100_755,
            Self::File { executable: false } => 0o100_644,
            Self::CharacterDevice { .. } => 0o020_600,
        }
    }
}

/// Writes an archive, entry by entry; directories have to come before what is in them.
pub(crate) struct Archive<W> {
    out: W,
    entries: u32,
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Adds an entry; `path` is relative to the root.
    ///
    /// # Errors
    /// It cannot be written, or has 4 GiB and more.
    pub(crate) fn add(&mut self, path: &str, kind: Kind, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        self.entry(path, kind.mode(), kind, content)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, Kind::Directory, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, kind: Kind, content: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name = u32::try_from(path.len() + 1).map_err(too_large)?;
        let (major, minor) = match kind {
            Kind::CharacterDevice { major, minor } => (major, minor),
            Kind::Directory | Kind::File { .. } => (0, 0),
        };
        // Inode, mode, user, group, links, time, size, device, device it is, name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name, 0];
        let fields = fields.map(|field| format!("{field:08X}")).concat();
        let header = format!("070701{fields}{path}\0");
        self.padded(header.as_bytes())?;
        self.padded(content)
    }

    /// Headers with their names and contents end at multiples of 4 bytes.
    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_the_format_has_them() {
        let mut archive = Archive::new(Vec::new());
        archive.add("bin", Kind::Directory, &[]).unwrap();
        archive.add("bin/a", Kind::File { executable: true }, b"hello").unwrap();
        archive.add("tty", Kind::CharacterDevice { major: 5, minor: 1 }, &[]).unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let directory = concat!(
            "070701",
            "00000001",
            "000041ED",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000004",
            "00000000",
            "bin\0\0\0"
        );
        let file = concat!(
            "070701",
            "00000002",
            "000081ED",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000006",
            "00000000",
            "bin/a\0hello\0\0\0"
        );
        let rest = text.strip_prefix(directory).unwrap().strip_prefix(file).unwrap();
        let device = rest.split_at(116).0;
        assert_eq!(&device[14..22], "00002180");
        assert_eq!(&device[78..94], "0000000500000001");
        assert!(rest.contains("TRAILER!!!\0") && text.len().is_multiple_of(4));
    }
}

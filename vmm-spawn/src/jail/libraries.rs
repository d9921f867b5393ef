//! What a program needs to be there when it is executed: its loader and its libraries.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files that a program may need at most.
const MOST: usize = 64;

/// Bytes of a loader's name at most, and of its answer.
const NAME_MAX: usize = 4096;
const ANSWER_MAX: u64 = 64 << 10;

/// Why it is not known what a program needs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It is run by another program.
    #[error(
        "it is a script, which needs more than an empty root directory: --machine-root DIR gives \
         machines another"
    )]
    Script,
    /// It is nothing that could be run.
    #[error("it is no program for this host")]
    NoProgram,
    /// Its loader does not tell.
    #[error("its loader {loader:?} does not tell what it needs: {reason}")]
    Loader {
        /// The loader.
        loader: PathBuf,
        /// What happened.
        reason: String,
    },
}

/// The loader of `program` and its libraries, absolute; nothing if it is linked statically.
///
/// # Errors
/// It is not known.
pub fn of(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let Some(loader) = loader(&File::open(program)?)? else { return Ok(Vec::new()) };
    let failed = |reason: String| Error::Loader { loader: loader.clone(), reason };
    // The loader lists what it would load, and runs nothing of it.
    let mut child = Command::new(&loader)
        .arg("--list")
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut answer = String::new();
    let output = child.stdout.take().map(|output| output.take(ANSWER_MAX));
    let read = output.map_or(Ok(0), |mut output| output.read_to_string(&mut answer));
    let status = child.wait()?;
    read?;
    if !status.success() {
        return Err(failed(status.to_string()));
    }
    let mut files = listed(&answer);
    files.push(loader.clone());
    files.sort();
    files.dedup();
    if files.len() > MOST {
        return Err(failed(format!("{} files, at most {MOST} are possible", files.len())));
    }
    Ok(files)
}

/// The absolute paths in lines such as `libc.so.6 => /lib/libc.so.6 (0x1234)`.
fn listed(answer: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let file = line.split_once(" => ").map_or(line, |(_, file)| file);
        let file = file.rsplit_once(" (").map_or(file, |(file, _)| file).trim();
        file.starts_with('/').then(|| PathBuf::from(file))
    };
    answer.lines().filter_map(path).collect()
}

/// The loader that an ELF file of this host's kind names, if it names one.
fn loader(file: &File) -> Result<Option<PathBuf>, Error> {
    let mut header = [0; 64];
    let length = file.read_at(&mut header, 0)?;
    if header[..length].starts_with(b"#!") {
        return Err(Error::Script);
    }
    // 64 bits, little-endian.
    if length < header.len() || header[..6] != *b"\x7fELF\x02\x01" {
        return Err(Error::NoProgram);
    }
    let (table, size, count) = (u64_at(&header, 32), u16_at(&header, 54), u16_at(&header, 56));
    for number in 0..u64::from(count) {
        let mut segment = [0; 56];
        let at = number.checked_mul(size.into()).and_then(|at| at.checked_add(table));
        file.read_exact_at(&mut segment, at.ok_or(Error::NoProgram)?)?;
        if segment[..4] == INTERPRETER {
            let length = usize::try_from(u64_at(&segment, 32)).unwrap_or(usize::MAX);
            if length > NAME_MAX {
                return Err(Error::NoProgram);
            }
            let mut name = vec![0; length];
            file.read_exact_at(&mut name, u64_at(&segment, 8))?;
            let name = String::from_utf8(name).map_err(|_| Error::NoProgram)?;
            return Ok(Some(name.trim_end_matches('\0').into()));
        }
    }
    Ok(None)
}

/// The type of the segment that names a loader.
const INTERPRETER: [u8; 4] = [3, 0, 0, 0];

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tests::take_turn;

    #[test]
    fn a_program_needs_its_loader_and_the_c_library() {
        take_turn();
        let files = of(&std::env::current_exe().unwrap()).unwrap();
        let has = |name: &str| files.iter().any(|file| file.to_string_lossy().contains(name));
        assert!(has("/ld-linux") && has("/libc.so"), "{files:?}");
        assert!(files.iter().all(|file| file.is_absolute() && file.exists()), "{files:?}");
        // The loader itself has none.
        let loader = files.iter().find(|file| file.to_string_lossy().contains("/ld-linux"));
        assert_eq!(of(loader.unwrap()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let says = |bytes: &[u8]| {
            let path = dir.path().join("program");
            std::fs::write(&path, bytes).unwrap();
            of(&path).unwrap_err().to_string()
        };
        assert!(says(b"#!/bin/sh\n").contains("--machine-root DIR"));
        assert!(says(b"").contains("no program"));
        assert!(says(b"\x7fELF\x02\x01").contains("no program"));
        let mut truncated = [0; 64];
        truncated[..6].copy_from_slice(b"\x7fELF\x02\x01");
        truncated[56] = 1;
        truncated[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(says(&truncated).contains("cannot be read"), "{}", says(&truncated));
    }
}

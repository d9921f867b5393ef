//! The first file system of a machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::archive::{Archive, Kind};

/// Files by their absolute paths in the machine, with all directories above them.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<String, Content>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    /// A file of the host.
    Host(PathBuf),
    Bytes(Vec<u8>),
    Directory,
}

impl Files {
    /// None at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file of the host, at the same path or another.
    ///
    /// # Errors
    /// A path is not absolute or not UTF-8.
    pub fn add(&mut self, file: &Path, at: &Path) -> Result<&mut Self> {
        self.put(at, Content::Host(file.to_owned()))
    }

    /// A file with this content.
    ///
    /// # Errors
    /// The path is not absolute or not UTF-8.
    pub fn write(&mut self, at: &Path, content: impl Into<Vec<u8>>) -> Result<&mut Self> {
        self.put(at, Content::Bytes(content.into()))
    }

    /// An empty directory.
    ///
    /// # Errors
    /// The path is not absolute or not UTF-8.
    pub fn directory(&mut self, at: &Path) -> Result<&mut Self> {
        self.put(at, Content::Directory)
    }

    /// A program of the host with all libraries that it wants: by its path, at the same path; by
    /// its name, in `/bin`.
    ///
    /// # Errors
    /// There is no such program, or its libraries cannot be found.
    pub fn program(&mut self, program: impl AsRef<Path>) -> Result<&mut Self> {
        let program = program.as_ref();
        if program.is_absolute() {
            return self.program_at(program, program);
        }
        let name = program.display();
        let search = std::env::var_os("PATH").unwrap_or_default();
        // Those for the administrator are not in everybody's path.
        let directories =
            std::env::split_paths(&search).chain(["/usr/sbin".into(), "/sbin".into()]);
        let mut candidates = directories.map(|directory| directory.join(program));
        let found = candidates.find(|candidate| candidate.is_file());
        let found = found.with_context(|| format!("there is no program {name} on this host"))?;
        self.program_at(&found, &Path::new("/bin").join(program))
    }

    /// A program of the host with all libraries that it wants, at another path.
    ///
    /// # Errors
    /// Its libraries cannot be found.
    pub fn program_at(&mut self, program: &Path, at: &Path) -> Result<&mut Self> {
        for library in libraries(program)? {
            self.add(&library, &library)?;
        }
        self.add(program, at)
    }

    fn put(&mut self, at: &Path, content: Content) -> Result<&mut Self> {
        let path = at.to_str().and_then(|path| path.strip_prefix('/'));
        let path = path.with_context(|| format!("{} is no path in a machine", at.display()))?;
        self.0.insert(path.to_owned(), content);
        Ok(self)
    }

    /// Writes them as an archive for the kernel.
    pub(crate) fn archive(&self, out: impl Write) -> Result<()> {
        let mut archive = Archive::new(BufWriter::new(out));
        let parents = self.0.keys().flat_map(|path| Path::new(path).ancestors().skip(1));
        let parents = parents.filter_map(Path::to_str).filter(|path| !path.is_empty());
        let empty = self.0.iter().filter(|(_, content)| **content == Content::Directory);
        let directories: BTreeSet<_> = parents.chain(empty.map(|(path, _)| &**path)).collect();
        for directory in directories {
            archive.add(directory, Kind::Directory, &[])?;
        }
        // Without it, init would have no place to complain.
        archive.add("dev/console", Kind::CharacterDevice { major: 5, minor: 1 }, &[])?;
        for (path, content) in &self.0 {
            match content {
                Content::Host(file) => {
                    let (bytes, executable) =
                        read(file).with_context(|| format!("cannot read {}", file.display()))?;
                    archive.add(path, Kind::File { executable }, &bytes)?;
                }
                Content::Bytes(bytes) => {
                    archive.add(path, Kind::File { executable: false }, bytes)?;
                }
                Content::Directory => {}
            }
        }
        archive.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }
}

fn read(file: &Path) -> io::Result<(Vec<u8>, bool)> {
    let executable = fs::metadata(file)?.permissions().mode() & 0o111 != 0;
    Ok((fs::read(file)?, executable))
}

/// The shared libraries of a program, and the program that loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let name = program.display();
    let output = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(complaint.contains("not a dynamic"), "ldd {name}: {complaint}{text}");
        return Ok(Vec::new());
    }
    // `NAME => PATH (ADDRESS)`, `PATH (ADDRESS)`, or `linux-vdso.so.1 (ADDRESS)`.
    let mut libraries = Vec::new();
    for line in text.lines() {
        let library = line.split_once("=>").map_or(line, |(_, path)| path).trim();
        if library == "not found" {
            bail!("{name} wants a library that this host does not have: {}", line.trim());
        }
        if library.starts_with('/') {
            libraries.extend(library.split(" (").next().map(PathBuf::from));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_comes_with_its_libraries_and_its_loader() {
        let mut files = Files::new();
        files.program("sh").unwrap();
        let paths: Vec<_> = files.0.keys().collect();
        assert!(paths.iter().any(|path| *path == "bin/sh"), "{paths:?}");
        assert!(paths.iter().any(|path| path.ends_with("libc.so.6")), "{paths:?}");
        assert!(paths.iter().any(|path| path.contains("ld-linux")), "{paths:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Files::new().program("no-such-program").unwrap_err();
        assert_eq!(error.to_string(), "there is no program no-such-program on this host");
        let error = Files::new().write(Path::new("relative"), "").unwrap_err();
        assert_eq!(error.to_string(), "relative is no path in a machine");
    }
}

//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`], or [`Error::Unreadable`] when it is larger.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(Error::io("read", path))?;
    if content.len() as u64 > limit {
        let problem = format!("larger than {limit} bytes, so it is none of the expected files");
        return Err(Error::Unreadable { file: path.to_owned(), problem });
    }
    Ok(content)
}

/// Checks that none of the files is there yet.
///
/// # Errors
/// [`Error::Exists`] with `way_out`, for the first that is.
pub fn none_exists<'p>(
    paths: impl IntoIterator<Item = &'p Path>,
    way_out: &str,
) -> Result<(), Error> {
    for path in paths {
        // A dangling symbolic link is in the way too, so links are not followed.
        match fs::symlink_metadata(path) {
            Ok(_) => {
                return Err(Error::Exists { file: path.to_owned(), way_out: way_out.to_owned() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look for", path)(error)),
        }
    }
    Ok(())
}

/// New files that belong together: unless [`NewFiles::keep`] is called, those already written are
/// removed again, so that a failure halfway is not in the way of the next try.
#[derive(Debug, Default)]
#[must_use]
pub struct NewFiles {
    written: Vec<PathBuf>,
}

impl NewFiles {
    /// Writes a file that only its owner can read (mode 0600).
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn secret(&mut self, path: &Path, content: &str) -> Result<(), Error> {
        self.create(path, content.as_bytes(), 0o600)
    }

    /// Writes a file that everyone may read (mode 0644, less the umask).
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn public(&mut self, path: &Path, content: &str) -> Result<(), Error> {
        self.create(path, content.as_bytes(), 0o644)
    }

    fn create(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(Error::io("create", path))?;
        self.written.push(path.to_owned());
        file.write_all(content).map_err(Error::io("write", path))?;
        file.sync_all().map_err(Error::io("write", path))?;
        sync_directory(path)
    }

    /// Also removes this one, which was created elsewhere, unless [`NewFiles::keep`] is called.
    pub fn adopt(&mut self, path: &Path) {
        self.written.push(path.to_owned());
    }

    /// All is well: the files stay.
    pub fn keep(mut self) {
        self.written.clear();
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in &self.written {
            // The error that brought us here is the one to report.
            let _ = fs::remove_file(path);
        }
    }
}

/// Puts `content` in place of whatever `path` was: a reader sees the old or the new, never a part.
///
/// # Errors
/// [`Error::Io`]
pub fn replace(path: &Path, content: &str) -> Result<(), Error> {
    replace_all([(path, content.to_owned())])
}

/// The same for many files: none is replaced before there was room for all of them.
///
/// # Errors
/// [`Error::Io`]
pub fn replace_all<'p>(files: impl IntoIterator<Item = (&'p Path, String)>) -> Result<(), Error> {
    let mut written = NewFiles::default();
    let mut renames = Vec::new();
    for (path, content) in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let new = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
        written.public(&new, &content)?;
        renames.push((new, path));
    }
    for (new, path) in &renames {
        fs::rename(new, path).map_err(Error::io("replace", path))?;
    }
    written.keep();
    renames.iter().try_for_each(|(_, path)| sync_directory(path))
}

/// Makes the entry of `path` in its directory durable.
///
/// # Errors
/// [`Error::Io`]
pub fn sync_directory(path: &Path) -> Result<(), Error> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("write the directory", directory))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_failure_halfway_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("b"), "old").unwrap();
        let mut files = NewFiles::default();
        files.secret(&path("a"), "new").unwrap();
        assert!(files.secret(&path("b"), "new").is_err());
        drop(files);
        assert!(!path("a").exists());
        assert_eq!(fs::read_to_string(path("b")).unwrap(), "old");
    }

    #[test]
    fn a_secret_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let mut files = NewFiles::default();
        files.secret(&path, "secret").unwrap();
        files.keep();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_replaced_file_leaves_no_second_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev.pem");
        replace(&path, "one").unwrap();
        replace(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_that_belong_together_are_replaced_when_all_of_them_could_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("a"), "old").unwrap();
        let (a, lost) = (path("a"), path("missing").join("b"));
        let new = || "new".to_owned();
        assert!(replace_all([(a.as_path(), new()), (lost.as_path(), new())]).is_err());
        assert_eq!(fs::read_to_string(&a).unwrap(), "old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let b = path("b");
        replace_all([(a.as_path(), new()), (b.as_path(), new())]).unwrap();
        assert_eq!((fs::read(a).unwrap(), fs::read(b).unwrap()), (b"new".into(), b"new".into()));
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read(&path, 11).is_ok());
        assert!(matches!(read(&path, 10), Err(Error::Unreadable { .. })));
    }
}

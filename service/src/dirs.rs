//! Where sockets and state are.

use std::path::{Path, PathBuf};

/// The directories of one installation.
#[derive(Debug, Clone)]
pub struct Dirs {
    run: PathBuf,
    state: PathBuf,
}

impl Dirs {
    /// `dir` for both, or `/run/vmm` and `/var/lib/vmm`.
    pub fn new(dir: Option<&Path>) -> Self {
        match dir {
            Some(dir) => Self { run: dir.to_owned(), state: dir.to_owned() },
            None => Self { run: "/run/vmm".into(), state: "/var/lib/vmm".into() },
        }
    }

    /// The socket of a part: `vmmd`, `spawn`, `console`, `log` or `stats`.
    pub fn socket(&self, part: &str) -> PathBuf {
        self.run.join(format!("{part}.sock"))
    }

    /// The state directory of a part, made if it is missing, for its owner only.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn state(&self, part: &str) -> std::io::Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = self.state.join(part);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(dir)
    }

    /// The directory of what a part keeps until the host is booted anew; it may be missing.
    pub fn runtime(&self, part: &str) -> PathBuf {
        self.run.join(part)
    }

    /// Makes the directory of the sockets if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_run(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.run)
    }
}

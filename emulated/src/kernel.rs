//! The kernel of the machine: Debian's for clouds, which starts in seconds and is what many hosts
//! run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The package whose only dependency is the newest kernel of this kind.
const NEWEST: &str = "linux-image-cloud-amd64";

/// How the names of these kernels end.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel with its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    release: String,
    image: PathBuf,
    modules: PathBuf,
}

impl Kernel {
    /// The kernel that [`fetch_kernel`] has put below `root`, the directory of the workspace, or
    /// one that is installed on this host.
    pub fn find(root: &Path) -> Option<Self> {
        [unpacked(root), PathBuf::from("/")].iter().find_map(|root| Self::below(root))
    }

    fn below(root: &Path) -> Option<Self> {
        let entries = fs::read_dir(root.join("boot")).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let releases = names.filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned()));
        let kernels = releases.filter(|release| release.ends_with(FLAVOUR)).map(|release| Self {
            image: root.join("boot").join(format!("vmlinuz-{release}")),
            modules: root.join("lib/modules").join(&release).join("kernel"),
            release,
        });
        kernels.filter(|kernel| kernel.modules.is_dir()).max_by_key(Self::version)
    }

    /// Its release, as `uname -r` has it.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Its file.
    pub(crate) fn image(&self) -> &Path {
        &self.image
    }

    /// The numbers in its release.
    fn version(&self) -> Vec<u32> {
        self.release.split(|c: char| !c.is_ascii_digit()).flat_map(str::parse).collect()
    }

    /// These modules and all that they need, in an order in which they can be loaded.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for name in names {
            self.order_module(name, &mut order)?;
        }
        Ok(order)
    }

    /// Modules that need each other in a circle do not exist: they could not be loaded.
    fn order_module(&self, name: &str, order: &mut Vec<PathBuf>) -> Result<()> {
        let file = find_module(&self.modules, name)?;
        let file =
            file.with_context(|| format!("the kernel {} has no module {name}", self.release))?;
        if !order.contains(&file) {
            let bytes =
                fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            for needed in dependencies(&bytes) {
                self.order_module(&needed, order)?;
            }
            order.push(file);
        }
        Ok(())
    }
}

/// What a module needs: `depends=a,b` in its information, between NULs.
fn dependencies(module: &[u8]) -> Vec<String> {
    let mut words = module.split(|&byte| byte == 0);
    let names = words.find_map(|word| word.strip_prefix(b"depends=")).unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The file of a module; `-` and `_` are the same in names of modules.
fn find_module(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let wanted = format!("{name}.ko").replace('-', "_");
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if let Some(found) = find_module(&entry.path(), name)? {
                return Ok(Some(found));
            }
        } else if entry.file_name().to_string_lossy().replace('-', "_") == wanted {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Where the fetched kernel is.
fn unpacked(root: &Path) -> PathBuf {
    root.join("target/emulated/kernel")
}

/// Downloads the kernel's package from Debian's archive and unpacks it below `root`, the directory
/// of the workspace. Nothing is installed, and nothing is done if that kernel is there.
///
/// # Errors
/// There is no apt-get or no dpkg-deb, the package lists are empty, or the archive is out of
/// reach.
pub fn fetch_kernel(root: &Path) -> Result<Kernel> {
    let listed = run(Command::new("apt-cache").args(["depends", NEWEST]))?;
    let package = listed.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| {
        format!("the package lists know no kernel for {NEWEST} (try: apt-get update)")
    })?;
    let release = package.strip_prefix("linux-image-").unwrap_or(package);
    if let Some(kernel) = Kernel::below(&unpacked(root)).filter(|it| it.release == release) {
        return Ok(kernel);
    }
    let directory = root.join("target/emulated");
    fs::create_dir_all(&directory)?;
    let fresh = tempfile::Builder::new().prefix("kernel-").tempdir_in(&directory)?;
    run(Command::new("apt-get").args(["download", package]).current_dir(fresh.path()))?;
    let mut files = fs::read_dir(fresh.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = files.find(|file| file.extension().is_some_and(|it| it == "deb"));
    let archive = archive.context("apt-get has downloaded nothing")?;
    let content = fresh.path().join("content");
    run(Command::new("dpkg-deb").arg("--extract").args([&archive, &content]))?;
    if unpacked(root).exists() {
        fs::remove_dir_all(unpacked(root))?;
    }
    fs::rename(&content, unpacked(root))?;
    Kernel::below(&unpacked(root)).with_context(|| format!("there is no kernel in {package}"))
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {complaint}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_taken_and_modules_come_after_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        for release in ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.9.0-1-amd64"] {
            let modules = dir.path().join("lib/modules").join(release).join("kernel/a/b");
            fs::create_dir_all(dir.path().join("boot")).unwrap();
            fs::create_dir_all(&modules).unwrap();
            fs::write(dir.path().join("boot").join(format!("vmlinuz-{release}")), "").unwrap();
            fs::write(modules.join("top-one.ko"), b"\0depends=middle,low\0depends=no\0").unwrap();
            fs::write(modules.join("../middle.ko"), b"x\0depends=low\0").unwrap();
            fs::write(modules.join("low.ko"), b"x\0depends=\0").unwrap();
        }
        let kernel = Kernel::below(dir.path()).unwrap();
        assert_eq!(kernel.release(), "6.1.0-56-cloud-amd64");
        let order = kernel.modules(&["low", "top_one"]).unwrap();
        let names: Vec<_> = order.iter().map(|path| path.file_name().unwrap()).collect();
        assert_eq!(names, ["low.ko", "middle.ko", "top-one.ko"]);
        let error = kernel.modules(&["other"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel 6.1.0-56-cloud-amd64 has no module other");
    }
}

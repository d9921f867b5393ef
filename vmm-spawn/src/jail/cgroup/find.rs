//! Where cgroups are on this host, and where this process is among them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// What limits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// How much memory there is.
    Memory,
    /// How much processor time.
    Cpu,
    /// Which CPUs.
    Cpuset,
    /// How many processes.
    Pids,
}

impl Controller {
    /// All that machines are limited by.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Cpu, Self::Cpuset, Self::Pids];

    /// As the kernel calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The two kinds of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller, or for a few.
    V1,
    /// One for all.
    V2,
}

/// A hierarchy of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its kind.
    pub version: Version,
    /// What limits something there, of those that are wanted.
    pub controllers: Vec<Controller>,
    /// Where it begins.
    pub mount: PathBuf,
    /// The cgroup of this process.
    pub own: PathBuf,
}

/// The hierarchies that have any of the controllers, each of which is in one at most.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn hierarchies() -> io::Result<Vec<Hierarchy>> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(parse(&cgroups, &mounts, |own| {
        // Without the file there are none; the reason comes with the first attempt to use one.
        fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default()
    }))
}

/// `cgroups` and `mounts` are as in `/proc/self`; `offered` tells the controllers of a cgroup of
/// version 2.
fn parse(cgroups: &str, mounts: &str, offered: impl Fn(&Path) -> String) -> Vec<Hierarchy> {
    let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
    let mut found: BTreeMap<PathBuf, Hierarchy> = BTreeMap::new();
    for controller in Controller::ALL {
        let own = cgroups.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            names.split(',').any(|name| name == controller.name()).then_some(path)
        });
        let place = match own {
            Some(own) => mounts
                .iter()
                .find(|it| it.version == Version::V1 && it.has(controller))
                .and_then(|mount| Some((mount, mount.place(own)?))),
            None => cgroups.lines().find_map(|line| line.strip_prefix("0::")).and_then(|own| {
                let mount = mounts.iter().find(|it| it.version == Version::V2)?;
                let own = mount.place(own)?;
                let offered = offered(&own);
                offered.split_whitespace().any(|it| it == controller.name()).then_some((mount, own))
            }),
        };
        let Some((mount, own)) = place else { continue };
        found
            .entry(own.clone())
            .or_insert_with(|| Hierarchy {
                version: mount.version,
                controllers: Vec::new(),
                mount: mount.at.into(),
                own,
            })
            .controllers
            .push(controller);
    }
    found.into_values().collect()
}

/// A line of `mountinfo` that is about cgroups.
struct Mount<'a> {
    version: Version,
    /// Which cgroup is shown there.
    root: &'a str,
    at: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (root, at) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let version = match kind.next()? {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => return None,
        };
        Some(Self { version, root, at, options: kind.nth(1)? })
    }

    fn has(&self, controller: Controller) -> bool {
        self.options.split(',').any(|option| option == controller.name())
    }

    /// Where the cgroup with this path is, if it is in sight.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        // A path that is empty would leave a `/` at the end.
        Some(Path::new(self.at).components().chain(below.components()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
9:name=systemd:/
5:cpu,cpuacct:/a/b
4:memory:/m
3:cpuset:/
0::/
";
    const V1_MOUNTS: &str = "\
30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /m /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:29 /other /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn version_1_has_a_place_for_each_controller_that_is_in_sight() {
        let found = parse(V1, V1_MOUNTS, |_| "pids cpu".to_owned());
        let at = |own: &str| found.iter().find(|it| it.own == Path::new(own)).unwrap();
        let cpu = at("/sys/fs/cgroup/cpu,cpuacct/a/b");
        assert_eq!((cpu.version, &*cpu.controllers), (Version::V1, &[Controller::Cpu][..]));
        assert_eq!(cpu.mount, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(at("/sys/fs/cgroup/memory").controllers, [Controller::Memory]);
        // What version 1 does not have can be in the other.
        let pids = at("/sys/fs/cgroup/unified");
        assert_eq!((pids.version, &*pids.controllers), (Version::V2, &[Controller::Pids][..]));
        assert_eq!(found.len(), 3, "the cpuset of this process is not in sight");
    }

    #[test]
    fn version_2_has_one_place_for_all_that_it_offers() {
        let mounts = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let own = "/system.slice/vmm-spawn.service";
        let found = parse(&format!("0::{own}\n"), mounts, |path| {
            assert_eq!(path, Path::new("/sys/fs/cgroup/system.slice/vmm-spawn.service"));
            "cpu io memory pids".to_owned()
        });
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].controllers, [Controller::Memory, Controller::Cpu, Controller::Pids]);
        assert_eq!(found[0].mount, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn without_cgroups_there_are_none() {
        assert_eq!(parse("", "", |_| String::new()), []);
        assert_eq!(parse("0::/\n", V1_MOUNTS, |_| String::new()), []);
        assert_eq!(parse("nonsense\n0::/\n", "nonsense - cgroup2\n", |_| String::new()), []);
    }
}

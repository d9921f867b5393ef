//! A running installation for a test, with an authority, a delegation and an admin's leaf.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use vmm_testkit::skipped;
use xtask::guests::build_guests;
use xtask::house::{House, Programs, wait_until};

use crate::forge::Forge;
use crate::links;
use crate::peer::{Credentials, Peer};

/// The guests whose images are in the directory of an installation.
const GUESTS: [&str; 8] =
    ["chatter", "crasher", "echo", "echoes", "hello", "liar", "sender", "ticker"];

/// The directory of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

/// The programs under test, built once for all tests of this process, with the profile of the
/// tests.
pub fn programs() -> Programs {
    static BUILT: OnceLock<Programs> = OnceLock::new();
    let build = || {
        build_guests(root()).expect("the sample unikernels");
        Programs::build(root(), !cfg!(debug_assertions)).expect("the programs")
    };
    BUILT.get_or_init(build).clone()
}

/// The kinds of image that this host runs: always spt, and hvt where KVM can be used. Where it
/// cannot, that is said loudly; with `CI=true` it is a failure.
pub fn kinds() -> Vec<&'static str> {
    let kvm = std::fs::File::options().read(true).write(true).open("/dev/kvm");
    match kvm {
        Ok(_) => vec!["spt", "hvt"],
        Err(error) => {
            skipped(&format!("hvt: /dev/kvm cannot be used: {error}"));
            vec!["spt"]
        }
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Fails unless the exit code is `code`.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// An installation with all daemons running. Dropped, they are killed and everything is removed.
#[derive(Debug)]
pub struct Setup {
    /// The daemons.
    pub house: House,
    dir: TempDir,
}

impl Setup {
    /// An authority, all daemons, the delegation `dev` (2 machines, 1024 MiB, CPU 0) and its leaf
    /// `admin`, which may do everything.
    pub fn new() -> Self {
        Self::with_share(&["2", "1024", "--cpu", "0"]).started(&[])
    }

    /// An authority, the delegation `dev` with this share, and its leaf `admin`, which may do
    /// everything. No daemons.
    pub fn with_share(share: &[&str]) -> Self {
        let setup = Self::without_daemons();
        setup.delegate("ca.db", "cacert.pem", "ca.key", "dev", share);
        setup.leaf("dev", "admin", &["--permission", "all"]);
        setup
    }

    /// Only the authority and the guests' images.
    pub fn without_daemons() -> Self {
        Self::with_programs(|_| programs())
    }

    /// Only the authority and the guests' images, with the programs that are at hand for a
    /// directory.
    pub fn with_programs(programs: impl FnOnce(&Path) -> Programs) -> Self {
        let dir = tempfile::Builder::new().prefix("vmm-test-").tempdir().expect("a directory");
        let programs = programs(dir.path());
        for guest in GUESTS {
            for kind in ["spt", "hvt"] {
                let name = format!("{guest}.{kind}");
                let built = root().join("target/guests").join(&name);
                std::fs::copy(&built, dir.path().join(&name)).expect("a guest");
            }
        }
        let house = House::new(programs, dir.path()).expect("a house");
        let setup = Self { house, dir };
        let init = ["init", "ca", "ca.db", "--days", "3650", "--server", "localhost"];
        setup.ca(&[&init[..], &["--server-days", "365"]].concat()).expect(0);
        setup
    }

    /// An installation whose root and server certificate come from the forge: the chains of
    /// [`Forge::root`] with the name `ca root` are its own.
    pub fn forged() -> Self {
        Self::forged_with(&[])
    }

    /// As [`Setup::forged`], `vmmd` with more arguments.
    pub fn forged_with(vmmd: &[&str]) -> Self {
        Self::without_daemons().with_forged_root().started(vmmd)
    }

    /// With the root and the server certificate of [`Setup::forged`], before `vmmd` is started.
    #[must_use]
    pub fn with_forged_root(self) -> Self {
        let root = Forge::root("ca root");
        let server = root.server("localhost", &["localhost"], &[&[127, 0, 0, 1]], |_| {}).sign();
        let write = |name: &str, text: String| std::fs::write(self.file(name), text);
        write("cacert.pem", server.root_pem()).expect("cacert.pem");
        write("server.pem", server.chain_pem()).expect("server.pem");
        write("server.key", server.key_pem()).expect("server.key");
        self
    }

    /// With all daemons started, `vmmd` with more arguments.
    #[must_use]
    pub fn started(mut self, vmmd: &[&str]) -> Self {
        for name in xtask::house::DAEMONS {
            let more = if name == "vmmd" { vmmd } else { &[] };
            self.house.start_with(name, more).expect(name);
        }
        let linked = wait_until("all daemons know each other", || links::are_made(&self.house));
        linked.expect("all daemons know each other");
        self
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Runs `vmm-ca`.
    pub fn ca(&self, arguments: &[&str]) -> Done {
        self.house.run("vmm-ca", arguments).expect("vmm-ca").into()
    }

    /// Has a delegation signed; writes `LABEL.bundle` and `LABEL.key`.
    pub fn delegate(&self, db: &str, issuer: &str, key: &str, label: &str, share: &[&str]) {
        self.ca(&[&["request", "delegation", label][..], share].concat()).expect(0);
        let request = format!("{label}.req");
        self.ca(&["sign", db, issuer, key, &request, "--days", "10"]).expect(0);
    }

    /// Has a delegation below `parent` signed by it.
    pub fn subdelegate(&self, parent: &str, label: &str, share: &[&str]) {
        let [db, bundle, key] = ["db", "bundle", "key"].map(|end| format!("{parent}.{end}"));
        self.delegate(&db, &bundle, &key, label, share);
    }

    /// Has a permission leaf signed by a delegation; writes `LABEL.bundle` and `LABEL.key`.
    pub fn leaf(&self, parent: &str, label: &str, permissions: &[&str]) {
        self.ca(&[&["request", "permissions", label][..], permissions].concat()).expect(0);
        self.sign(parent, label);
    }

    /// Has a machine leaf signed by a delegation; writes `LABEL.bundle` and `LABEL.key`.
    pub fn machine(&self, parent: &str, label: &str, machine: &[&str]) {
        self.ca(&[&["request", "machine", label][..], machine].concat()).expect(0);
        self.sign(parent, label);
    }

    fn sign(&self, parent: &str, label: &str) {
        let [db, bundle, key] = ["db", "bundle", "key"].map(|end| format!("{parent}.{end}"));
        self.ca(&["sign", &db, &bundle, &key, &format!("{label}.req")]).expect(0);
    }

    /// A connection with the certificate `who`, for what no client would say.
    pub fn peer(&self, who: &str) -> Peer {
        let [bundle, key] = ["bundle", "key"].map(|end| self.file(&format!("{who}.{end}")));
        let config = Credentials::read(&bundle, &key).config();
        Peer::connect(self.house.address, config).expect("a connection")
    }

    /// The arguments of `vmm-client` with the certificate `who`.
    pub fn client_arguments(&self, who: &str) -> Vec<String> {
        let mut arguments = self.house.server_arguments().to_vec();
        let own =
            ["--bundle".into(), format!("{who}.bundle"), "--key".into(), format!("{who}.key")];
        arguments.extend(own);
        arguments
    }

    /// Runs `vmm-client` with the certificate `who`.
    pub fn client(&self, who: &str, arguments: &[&str]) -> Done {
        let own = self.client_arguments(who);
        let all: Vec<&str> =
            own.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        self.house.run("vmm-client", &all).expect("vmm-client").into()
    }

    /// Runs `vmm-client --format json` with the certificate `who`, which must succeed.
    #[track_caller]
    pub fn json(&self, who: &str, arguments: &[&str]) -> Value {
        self.client(who, &[&["--format", "json"], arguments].concat()).expect(0).json()
    }

    /// Starts `vmm-client` with the certificate `who`; its output is piped.
    pub fn client_started(&self, who: &str, arguments: &[&str]) -> std::process::Child {
        let own = self.client_arguments(who);
        let all: Vec<&str> =
            own.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        let mut command = self.house.command("vmm-client", &all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("vmm-client")
    }

    /// Runs `vmm-client` on the local socket.
    pub fn admin(&self, arguments: &[&str]) -> Done {
        let all = [&["--socket", "run/vmmd.sock"], arguments].concat();
        self.house.run("vmm-client", &all).expect("vmm-client").into()
    }

    /// The state of a machine as `admin` sees it; `None` when it is not listed.
    pub fn state(&self, name: &str) -> Option<String> {
        let done = self.admin(&["--format", "json", "info", name]);
        (done.code == Some(0)).then(|| done.json()[0]["state"].as_str().unwrap_or("").to_owned())
    }

    /// Waits until a machine is in a state.
    #[track_caller]
    pub fn wait_for(&self, name: &str, state: &str) {
        let there = || self.state(name).as_deref() == Some(state);
        if let Err(error) = wait_until(&format!("{name} {state}"), there) {
            panic!("{error}; it is {:?}", self.admin(&["--format", "json", "info", name]));
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

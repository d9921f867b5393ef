//! A whole installation in one directory, run by an ordinary user: all daemons, one port on the
//! loopback interface. The demo, the benchmarks and the end-to-end tests live in such houses.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{self, AddressFamily, SocketType};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

/// How long a daemon may take to come up or to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The daemons, in the order in which the walkthrough starts them.
pub const DAEMONS: [&str; 5] = ["vmm-console", "vmm-log", "vmm-stats", "vmm-spawn", "vmmd"];

/// The programs of one build.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Builds all programs and says where they are. `release` says with which profile.
    ///
    /// # Errors
    /// When the build fails.
    pub fn build(root: &Path, release: bool) -> Result<Self> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
        if release {
            cargo.arg("--release");
        }
        ensure!(cargo.status().context("cannot run cargo")?.success(), "the build failed");
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root.join(target),
            None => root.join("target"),
        };
        Ok(Self(target.join(if release { "release" } else { "debug" })))
    }

    /// Copies of them, in a new directory, that every user may run.
    ///
    /// # Errors
    /// When they cannot be copied.
    pub fn copied_to(&self, dir: &Path) -> Result<Self> {
        fs::create_dir(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        let others = ["vmm-tender", "vmm-client", "vmm-ca"];
        let from = DAEMONS.iter().chain(&others).map(|name| self.path(name));
        // Not by this process: what it writes could be open in a child that another thread starts
        // just then, and a program that is open for writing cannot be run.
        let copied = Command::new("cp").args(from).arg(dir).status().context("cannot run cp")?;
        ensure!(copied.success(), "the programs cannot be copied to {}", dir.display());
        Ok(Self(dir.to_owned()))
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// A running daemon. Dropped, it is asked to end, so that `vmm-spawn` ends its machines; and killed
/// when it does not.
#[derive(Debug)]
pub struct Daemon {
    /// Its program's name.
    pub name: String,
    child: Child,
}

impl Daemon {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        signal(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{} ended with {status}", self.name);
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} does not end", self.name);
            std::thread::sleep(LOOK);
        }
    }

    /// Kills it at once.
    ///
    /// # Errors
    /// When it cannot be killed or waited for.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && self.end().is_err()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop))
        {
            eprintln!("{} cannot be killed: {error}", self.name);
        }
    }
}

fn serves(name: &str, socket: &Path) -> bool {
    // vmmd makes its local socket when its other doors are open; those count who connects.
    match name {
        "vmm-spawn" => takes_packets(socket).is_ok(),
        _ => UnixStream::connect(socket).is_ok(),
    }
}

/// Whether somebody listens there for sequenced packets.
fn takes_packets(path: &Path) -> rustix::io::Result<()> {
    let flags = net::SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    net::connect(&socket, &net::SocketAddrUnix::new(path)?)
}

/// Sends a signal.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.with_context(|| format!("{pid} is no process"))?;
    kill_process(process, signal).with_context(|| format!("cannot send {signal:?} to {pid}"))
}

/// Waits until `done` says so.
///
/// # Errors
/// When it does not within the time.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        ensure!(Instant::now() < deadline, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// An installation.
#[derive(Debug)]
pub struct House {
    /// Where everything of it is: certificates here, sockets and state in `run`.
    pub dir: PathBuf,
    /// Where `vmmd` listens.
    pub address: SocketAddr,
    /// What daemons that are started from now on find in their environment besides ours.
    pub environment: Vec<(String, String)>,
    programs: Programs,
    daemons: Vec<Daemon>,
    _port: OwnedFd,
}

/// A free port of the loopback interface that nobody else is given while the socket lives. `vmmd`
/// can listen there nevertheless: both sockets may reuse an address, and this one never listens.
fn reserve_port() -> Result<(OwnedFd, SocketAddr)> {
    let port = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&port, rustix::io::FdFlags::CLOEXEC)?;
    net::sockopt::set_socket_reuseaddr(&port, true)?;
    net::bind(&port, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = SocketAddr::try_from(net::getsockname(&port)?)?;
    Ok((port, address))
}

impl House {
    /// An installation in `dir`, with a certificate authority and no daemon yet.
    ///
    /// # Errors
    /// When the authority cannot be set up.
    pub fn new(programs: Programs, dir: &Path) -> Result<Self> {
        let (port, address) = reserve_port()?;
        let (dir, environment, daemons) = (dir.to_owned(), Vec::new(), Vec::new());
        Ok(Self { dir, address, environment, programs, daemons, _port: port })
    }

    /// The programs it runs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The path of a daemon's socket.
    pub fn socket(&self, part: &str) -> PathBuf {
        self.dir.join("run").join(format!("{part}.sock"))
    }

    /// The arguments with which a daemon is started in the walkthrough.
    pub fn arguments(&self, name: &str) -> Vec<String> {
        let mut arguments: Vec<String> = vec!["--dir".into(), "run".into()];
        if name == "vmmd" {
            let listen = self.address.to_string();
            let own = ["--ca", "cacert.pem", "--cert", "server.pem", "--key", "server.key"];
            arguments.extend(own.map(String::from));
            arguments.extend(["--listen".into(), listen]);
        }
        arguments
    }

    /// Starts a daemon with more arguments, and waits until it serves.
    ///
    /// # Errors
    /// When it ends, or does not serve in time; its own words are part of the error.
    pub fn start_with(&mut self, name: &str, more: &[&str]) -> Result<()> {
        self.start_as(name, None, more)
    }

    /// Starts a daemon as a user and group, with more arguments, and waits until it serves.
    ///
    /// # Errors
    /// See [`House::start_with`]; only root may start as another user.
    pub fn start_as(&mut self, name: &str, user: Option<(u32, u32)>, more: &[&str]) -> Result<()> {
        fs::create_dir_all(self.dir.join("run"))?;
        let log_path = self.dir.join(format!("{name}.err"));
        let log = File::options().create(true).append(true).open(&log_path)?;
        let mut command = Command::new(self.programs.path(name));
        if name == "vmm-spawn" {
            // Nothing of an installation in a directory is left behind.
            command.arg("--stop-machines");
        }
        if let Some((user, group)) = user {
            command.uid(user).gid(group);
        }
        let child = command
            .args(self.arguments(name))
            .args(more)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let mut daemon = Daemon { name: name.to_owned(), child };
        let part = name.strip_prefix("vmm-").unwrap_or(name);
        let socket = self.socket(part);
        let deadline = Instant::now() + PATIENCE;
        while !serves(name, &socket) {
            let said = || fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(status) = daemon.child.try_wait()? {
                bail!("{name} ended with {status}: {}", said());
            }
            ensure!(Instant::now() < deadline, "{name} does not serve: {}", said());
            std::thread::sleep(LOOK);
        }
        self.daemons.push(daemon);
        Ok(())
    }

    /// Starts all daemons.
    ///
    /// # Errors
    /// See [`House::start_with`].
    pub fn start(&mut self) -> Result<()> {
        DAEMONS.into_iter().try_for_each(|name| self.start_with(name, &[]))
    }

    /// A running daemon.
    pub fn daemon(&self, name: &str) -> Option<&Daemon> {
        self.daemons.iter().find(|daemon| daemon.name == name)
    }

    /// Takes a running daemon out, to stop or kill it.
    pub fn take(&mut self, name: &str) -> Option<Daemon> {
        let place = self.daemons.iter().position(|daemon| daemon.name == name)?;
        Some(self.daemons.remove(place))
    }

    /// Stops all daemons, the last started first.
    ///
    /// # Errors
    /// When one does not end well.
    pub fn stop(&mut self) -> Result<()> {
        while let Some(daemon) = self.daemons.pop() {
            daemon.stop()?;
        }
        Ok(())
    }

    /// A command of this installation's programs, in its directory.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.path(program));
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        for variable in ["VMM_CA", "VMM_SERVER", "VMM_BUNDLE", "VMM_KEY"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Output> {
        self.command(program, arguments).output().with_context(|| format!("cannot run {program}"))
    }

    /// What `vmm-client` needs to know of this server, for the command line.
    pub fn server_arguments(&self) -> [String; 4] {
        let port = self.address.port();
        ["--ca".into(), "cacert.pem".into(), "--server".into(), format!("localhost:{port}")]
    }
}

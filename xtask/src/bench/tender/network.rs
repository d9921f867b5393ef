//! A network that exists as long as one measurement: a namespace with one TAP interface.

use std::ffi::OsString;
use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::Sample;

/// The interface that a machine is attached to.
pub(super) const TAP: &str = "tap100";

/// Does all in one shell, with which the namespace ends: `$1` is the number of requests, the
/// machine's command follows. The guest answers at 10.0.0.2 once it is up.
const SCRIPT: &str = "
set -e
ip link set lo up
ip tuntap add dev tap100 mode tap
ip addr add 10.0.0.1/24 dev tap100
ip link set tap100 up
count=$1; shift
\"$@\" >/dev/null 2>&1 &
machine=$!
trap 'kill $machine 2>/dev/null' EXIT
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    ping -q -c 1 -W 1 -p deadbeef 10.0.0.2 >/dev/null && break
done
spent() {
    total=0
    for file in /proc/$machine/task/*/schedstat; do
        read -r nanoseconds rest <\"$file\"
        total=$((total + nanoseconds))
    done
}
spent; before=$total
ping -q -f -c \"$count\" -p deadbeef 10.0.0.2
spent; echo \"spent $((total - before))\"
";

/// Why no such network can be had.
pub(super) fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("this is not root".into());
    }
    if let Err(error) = File::options().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun cannot be opened: {error}"));
    }
    let missing = |program: &&str| {
        Command::new(program)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
    };
    let program = ["ip", "ping", "unshare"].into_iter().find(missing)?;
    Some(format!("{program} cannot be run"))
}

/// Answers each millisecond, and microseconds of processor time for each, of a `machine` that is
/// flooded with `count` requests.
pub(super) fn flood(machine: &[OsString], count: u32) -> Result<Sample> {
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", SCRIPT, "sh", &count.to_string()]).args(machine);
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{machine:?}: {said}{errors}");
    let (took, received) = summary(&said).with_context(|| format!("ping says: {said}"))?;
    // On a busy machine, `ping` may not wait for the very last ones.
    let nearly_all = count - count / 100;
    ensure!(received >= nearly_all, "{machine:?} answered {received} of {count} requests");
    let spent = said.lines().find_map(|line| line.strip_prefix("spent "));
    let spent: f64 = spent.context("the script did not come to its end")?.parse()?;
    let received = f64::from(received);
    Ok(Sample { value: received / took, cpu: Some(spent / 1e3 / received) })
}

/// Milliseconds, and answers, of `N packets transmitted, N received, 0% packet loss, time Nms`.
fn summary(text: &str) -> Option<(f64, u32)> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let received = line.split(", ").find_map(|part| part.strip_suffix(" received"))?;
    let took = line.split(", ").find_map(|part| part.strip_prefix("time ")?.strip_suffix("ms"))?;
    Some((took.parse().ok()?, received.parse().ok()?))
}

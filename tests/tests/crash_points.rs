//! A scenario in which `vmmd` dies at every boundary between two of its deeds, in turn. After each
//! death another one is started, and must make something whole of what it finds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vmm_testkit::skipped;
use vmm_tests::census::{Census, children};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Fewer boundaries than the scenario has, and more.
const FEW: u64 = 40;
const MANY: u64 = 1000;

/// What is known of a machine from the answers that clients got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It was said to run, and nobody stopped it.
    Runs,
    /// It was said to be listed in this state.
    Is(&'static str),
    /// It was said to be gone, or never answered to have come.
    Gone,
    /// The answer did not come: either way is right.
    Either,
}

type Expected = BTreeMap<&'static str, Known>;

struct Stage {
    setup: Setup,
    /// The name of the leaf that this round revokes.
    leaf: String,
    expected: Expected,
}

/// `vmmd` has died.
struct Died;

impl Stage {
    /// One request about a machine, and what is known after its answer.
    fn ask(
        &mut self,
        who: &str,
        arguments: &[&str],
        (machine, then): (&'static str, Known),
    ) -> Result<(), Died> {
        self.expected.insert(machine, Known::Either);
        let done = self.setup.client(who, arguments);
        if done.code == Some(0) {
            self.expected.insert(machine, then);
            return Ok(());
        }
        let mut vmmd = self.setup.house.take("vmmd").unwrap();
        let died = wait_until("its end", || vmmd.has_ended().unwrap());
        assert!(died.is_ok(), "{arguments:?} failed, and vmmd runs: {}", done.err);
        Err(Died)
    }

    /// Everything that can become of machines.
    fn play(&mut self) -> Result<(), Died> {
        let image = ["--memory", "64", "--cpu", "0"];
        let tick = |name, more: &[&'static str]| -> Vec<&'static str> {
            let run = ["run", name, "ticker.spt"];
            [&run[..], &image, more, &["--", "--every", "1000"]].concat()
        };
        self.ask("dev", &tick("plain", &[]), ("plain", Known::Runs))?;
        let failing = ["run", "failing", "crasher.spt", "--restart", "on-failure::1"];
        let failing = [&failing[..], &image, &["--", "abort"]].concat();
        self.ask("dev", &failing, ("failing", Known::Either))?;
        self.ask("dev", &tick("plain", &["--replace"]), ("plain", Known::Runs))?;
        self.ask("admin", &["stop", "plain"], ("plain", Known::Is("stopped")))?;
        self.ask("admin", &["start", "plain"], ("plain", Known::Runs))?;
        self.ask("admin", &["restart", "plain"], ("plain", Known::Runs))?;
        let hello = [&["run", "hello", "hello.spt"][..], &image].concat();
        self.ask("dev", &hello, ("hello", Known::Either))?;
        self.ask("admin", &["destroy", "failing"], ("failing", Known::Gone))?;
        let leaf = self.leaf.clone();
        self.ask(&leaf, &["deploy", "--image", "ticker.spt"], ("own", Known::Runs))?;
        self.setup.ca(&["revoke", "dev.db", "dev.bundle", "dev.key", &leaf]).expect(0);
        self.ask("admin", &["revoke", "dev.crl"], ("own", Known::Is("revoked")))?;
        self.ask("admin", &["destroy", &leaf], ("own", Known::Gone))?;
        self.ask("admin", &["destroy", "plain"], ("plain", Known::Gone))?;
        self.ask("admin", &["destroy", "hello"], ("hello", Known::Gone))
    }

    /// The name under which a machine is listed.
    fn name(&self, machine: &str) -> String {
        let label = if machine == "own" { &self.leaf } else { machine };
        format!("dev/{label}")
    }

    /// What is not as it should be.
    fn wrong(&self) -> Result<(), String> {
        let info = self.setup.admin(&["--format", "json", "info"]);
        let quota = self.setup.client("admin", &["--format", "json", "quota"]);
        let events = events(&self.setup);
        if info.code != Some(0) || quota.code != Some(0) {
            return Err(format!("no answer: {} {}", info.err, quota.err));
        }
        let machines: BTreeMap<String, Value> =
            info.json().as_array().unwrap().iter().fold(BTreeMap::new(), |mut all, machine| {
                all.insert(machine["name"].as_str().unwrap().to_owned(), machine.clone());
                all
            });
        let state =
            |name: &str| machines.get(name).map(|machine| machine["state"].as_str().unwrap());
        for (machine, known) in &self.expected {
            let found = state(&self.name(machine));
            let right = match known {
                Known::Runs => found == Some("running"),
                Known::Is(state) => found == Some(state),
                Known::Gone => found.is_none(),
                Known::Either => !matches!(found, Some("starting" | "stopping" | "restarting")),
            };
            check(right, || format!("{machine} is {known:?} and was found {found:?}"))?;
        }
        let running: BTreeSet<u64> =
            machines.values().filter_map(|machine| machine["pid"].as_u64()).collect();
        let spawn = self.setup.house.daemon("vmm-spawn").unwrap().pid();
        let processes: BTreeSet<u64> = children(spawn).into_iter().map(u64::from).collect();
        check(running == processes, || format!("{running:?} run, {processes:?} are there"))?;

        let live = machines.values().filter(|machine| !machine["pid"].is_null()).count();
        let quota = quota.json();
        let used = quota[0]["machines"]["used"].as_u64().unwrap();
        check(used == live as u64, || format!("{used} of the quota are used, {live} are live"))?;

        let needed: BTreeSet<_> =
            machines.values().map(|machine| machine["image"]["sha256"].as_str().unwrap()).collect();
        let images = std::fs::read_dir(self.setup.file("run/vmmd/images")).unwrap().count();
        check(images == needed.len(), || format!("{images} images of {}", needed.len()))?;
        logged(&machines, &events)
    }
}

fn check(right: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if right { Ok(()) } else { Err(wrong()) }
}

/// Everything in the log, as its file has it.
fn events(setup: &Setup) -> Vec<Value> {
    let text = std::fs::read_to_string(setup.file("run/log/events.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether the log has each event once, and each start an end unless it still runs.
fn logged(machines: &BTreeMap<String, Value>, events: &[Value]) -> Result<(), String> {
    let mut numbers = events.iter().filter(|event| event["source"] != "vmm-log");
    let wrong = numbers.by_ref().zip(1..).find(|(event, number)| event["sequence"] != *number);
    check(wrong.is_none(), || format!("the log has not each event once: {wrong:?}"))?;
    let mut running: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        let Some(id) = event["fields"]["id"].as_str() else { continue };
        let again = match event["kind"].as_str() {
            Some("started") => running.insert(id, event).is_some(),
            Some("exited") => running.remove(id).is_none(),
            _ => false,
        };
        check(!again, || format!("out of turn: {event}"))?;
    }
    let logged: BTreeSet<_> = running.into_keys().collect();
    let run = machines.values().filter(|machine| !machine["pid"].is_null());
    let run: BTreeSet<_> = run.map(|machine| machine["id"].as_str().unwrap()).collect();
    check(logged == run, || format!("by the log {logged:?} run, and {run:?} do"))
}

#[test]
fn a_supervisor_that_dies_between_any_two_deeds_is_followed_by_one_that_goes_on() {
    if !cfg!(debug_assertions) {
        return skipped("crash points: there are none in a release build");
    }
    let setup = Setup::with_share(&["6", "1024", "--cpu", "0"]).started(&[]);
    let tick = ["run", "keeper", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &[&tick[..], &["--", "--every", "1000"]].concat()).expect(0);
    let pid = |setup: &Setup| setup.json("admin", &["info", "keeper"])[0]["pid"].clone();
    let kept = pid(&setup);
    let before = Census::of(&setup);
    let mut stage = Stage { setup, leaf: String::new(), expected: Expected::new() };
    let mut survived = 0;
    // Some of the last boundaries come or do not, as the disks are fast.
    for at in 1.. {
        stage.leaf = format!("own{at}");
        stage.expected = Expected::from([("keeper", Known::Runs)]);
        stage.setup.machine("dev", &stage.leaf.clone(), &["ticker.spt", "64", "--cpu", "0"]);
        let house = &mut stage.setup.house;
        house.take("vmmd").unwrap().kill().unwrap();
        house.environment = vec![("VMMD_DIE_AT".to_owned(), at.to_string())];
        let began = house.start_with("vmmd", &[]).is_ok();
        house.environment.clear();
        let played = began && stage.play().is_ok();
        if let Some(vmmd) = stage.setup.house.take("vmmd") {
            vmmd.kill().unwrap();
        }
        stage.setup.house.start_with("vmmd", &[]).unwrap();
        let mut wrong = Ok(());
        let right = wait_until("everything as it should be", || {
            wrong = stage.wrong();
            wrong.is_ok()
        });
        assert!(right.is_ok(), "died at boundary {at}: {}", wrong.unwrap_err());
        assert_eq!(pid(&stage.setup), kept, "died at boundary {at}");
        for machine in ["plain", "failing", "hello", &stage.leaf] {
            let name = format!("/dev/{machine}");
            if stage.setup.state(&name).is_some() {
                stage.setup.admin(&["destroy", &name]).expect(0);
            }
        }
        survived += u64::from(played);
        if survived == 3 {
            assert!(at > FEW, "only {at} boundaries");
            eprintln!("{at} boundaries");
            break;
        }
        assert!(at < MANY, "{at} boundaries, and no end");
    }
    before.wait_for_again(&stage.setup);
    let verified = stage.setup.house.run("vmm-log", &["--verify", "--dir", "run"]).unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

//! Tenants who deploy and destroy all the time, as good as they can.

use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use vmm_tests::setup::{Done, Setup};
use xtask::house::wait_until;

use crate::chance::Chance;

/// Deploys machines and destroys them again; whatever is refused since a daemon is away is tried
/// again.
pub(crate) fn come_and_go(setup: &Mutex<Setup>, tenant: u64, mut chance: Chance, until: Instant) {
    let (mut deployed, mut repeated) = (0, 0);
    while Instant::now() < until {
        let name = format!("guest{tenant}-{}", chance.below(3));
        let every = format!("--every={}", 10 + chance.below(50));
        let run =
            ["run", &name, "ticker.spt", "--memory", "16", "--cpu", "1", "--replace", "--", &every];
        repeated += insist(setup, "dev", &run);
        deployed += 1;
        if chance.below(2) == 0 {
            repeated += insist(setup, "admin", &["destroy", &name]);
        }
    }
    for index in 0..3 {
        insist(setup, "admin", &["destroy", &format!("guest{tenant}-{index}")]);
    }
    eprintln!("tenant {tenant}: {deployed} machines deployed, {repeated} requests repeated");
}

/// Asks until it is done; returns how often it had to be asked again.
fn insist(setup: &Mutex<Setup>, who: &str, arguments: &[&str]) -> u32 {
    let mut asked = 0;
    let mut last = String::new();
    let insisted = wait_until(&arguments.join(" "), || {
        let done = ask(setup, who, arguments);
        asked += 1;
        last = done.err;
        match done.code {
            // Or there is no such machine: a request whose answer was lost destroyed it.
            Some(0 | 4) => true,
            // A connection or a daemon was lost.
            Some(1 | 5 | 6) => false,
            code => panic!("{arguments:?}: {code:?}: {last}"),
        }
    });
    assert!(insisted.is_ok(), "{insisted:?}, {asked} times: {last}");
    asked - 1
}

fn ask(setup: &Mutex<Setup>, who: &str, arguments: &[&str]) -> Done {
    let mut command = {
        let setup = setup.lock().unwrap();
        let own = setup.client_arguments(who);
        let all: Vec<&str> =
            own.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        setup.house.command("vmm-client", &all)
    };
    let output: Output =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("vmm-client");
    output.into()
}

//! The machine itself, with a shell in it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use vmm_emulated::{Emulated, Files, Job};

/// Long enough for a machine with much else to do; usually it takes seconds.
const LIMIT: Duration = Duration::from_mins(5);

fn machine() -> Option<Emulated> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Emulated::for_test(root, "emulated machines")
}

fn shell() -> Files {
    let mut files = Files::new();
    files.program("sh").unwrap().program("cat").unwrap().program("sleep").unwrap();
    files
}

#[test]
fn jobs_run_one_after_the_other_with_files_modules_and_kernel_arguments() {
    let Some(machine) = machine() else { return };
    let machine = machine.modules(&["tun"]).boot_arguments("vmm.word=1");
    let mut files = shell();
    files.write(Path::new("/etc/greeting"), "hello\n").unwrap();
    let jobs = [
        Job::script("cat /etc/greeting; echo $WORD >&2; exit 7").with("WORD", "two words"),
        Job::script("kill -9 $$"),
        Job::new("no-such-program", ["argument"]),
        Job::script("cat /proc/cmdline /proc/misc /sys/fs/cgroup/cgroup.controllers"),
        // What is left behind does not hold up the next one, and is no zombie in the end.
        Job::script(
            "sh -c 'echo $$ >/tmp/left; exec sleep 0.2' >/dev/null 2>&1 & \
             until [ -s /tmp/left ]; do sleep 0.1; done",
        ),
        Job::script("while [ -e /proc/$(cat /tmp/left) ]; do sleep 0.1; done; echo gone"),
        Job::script("printf 'no end of line'; printf '\\377'"),
    ];
    let ends = machine.boot(&files, &jobs, LIMIT).unwrap();
    let results: Vec<_> = ends.iter().map(|end| (end.status, &*end.stdout, &*end.stderr)).collect();
    assert_eq!(results[0], (7, "hello\n", "two words\n"));
    assert_eq!(results[1], (128 + 9, "", ""));
    assert_eq!(results[2].0, 127);
    assert!(results[2].2.starts_with("cannot run no-such-program: No such file"), "{results:?}");
    for part in ["vmm.word=1", " tun\n", " memory ", "pids"] {
        assert!(results[3].1.contains(part), "{part} in {}", results[3].1);
    }
    assert_eq!(results[5], (0, "gone\n", ""));
    assert_eq!(results[6], (0, "no end of line\u{FFFD}", ""));
}

#[test]
fn a_machine_that_ends_before_its_jobs_tells_what_it_did() {
    let Some(machine) = machine() else { return };
    let off = "echo begun; echo o >/proc/sysrq-trigger; sleep 100000";
    let jobs = [Job::script("echo first"), Job::script(off)];
    let error = machine.boot(&shell(), &jobs, LIMIT).unwrap_err().to_string();
    for part in ["the machine ended: exit status: 0", "begun\n", off, "Run /init as init"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[test]
fn a_machine_that_takes_too_long_is_ended() {
    let Some(machine) = machine() else { return };
    let error = machine.boot(&shell(), &[Job::script("")], Duration::ZERO).unwrap_err();
    assert!(error.to_string().starts_with("the machine takes too long\n"), "{error}");
}

//! Machines that behave: every sample, on both targets.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::ioctl_fionread;
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use vmm_testkit::until;

use crate::support::{End, Kind, Running, guest, run, tender};

#[test]
fn hello_prints_its_name_and_its_arguments_and_exits_as_told() {
    for kind in Kind::available() {
        let end = End::of(&mut run("hello", kind, &["--name=Ann", "a", "b c", "--exit=7"]));
        let stdout = "Hello from Ann\n--name=Ann\na\nb\nc\n--exit=7\n".to_owned();
        assert_eq!(end, End { status: 7, stdout, stderr: String::new() }, "{kind:?}");
        let end = End::of(&mut run("hello", kind, &[]));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}");
    }
}

#[test]
fn machines_of_any_size_start() {
    for kind in Kind::available() {
        let image = guest("hello", kind);
        for mib in ["2", "3", "4", "64", "512", "1023", "1024"] {
            let end = End::of(tender(["run", "--mem", mib]).arg(&image));
            assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?} {mib}");
        }
    }
}

#[test]
fn an_exit_status_is_cut_to_8_bits() {
    for kind in Kind::available() {
        for (returned, status) in [("255", 255), ("256", 0), ("263", 7)] {
            let end = End::of(&mut run("hello", kind, &[&format!("--exit={returned}")]));
            assert_eq!(end.status, status, "{kind:?} {returned}");
        }
    }
}

#[test]
fn leading_words_for_the_guests_library_are_not_for_the_guest() {
    for kind in Kind::available() {
        let words = ["--solo5:debug", "--solo5:quiet", "--solo5:quietfoo", "--solo5:quiet"];
        let end = End::of(&mut run("hello", kind, &words));
        let expected = "Hello from hello\n--solo5:quietfoo\n--solo5:quiet\n";
        assert_eq!(end.stdout, expected, "{kind:?}");
    }
}

#[test]
fn the_longest_command_line_reaches_the_guest_and_a_longer_one_is_refused() {
    for kind in Kind::available() {
        let longest = "x".repeat(8191);
        let end = End::of(&mut run("hello", kind, &[&longest]));
        assert_eq!(end.stdout, format!("Hello from hello\n{longest}\n"), "{kind:?}");
        let end = End::of(&mut run("hello", kind, &[&longest, ""]));
        let message = "vmm-tender: the guest's command line is too long: 8192 bytes, at most 8191 are possible\n";
        assert_eq!((end.status, &*end.stdout, &*end.stderr), (1, "", message), "{kind:?}");
    }
}

#[test]
fn ticker_ticks_on_time() {
    for kind in Kind::available() {
        let start = Instant::now();
        let end = End::of(&mut run("ticker", kind, &["--every=40", "--count=6"]));
        let took = start.elapsed();
        assert_eq!(end.stdout, "tick 1\ntick 2\ntick 3\ntick 4\ntick 5\ntick 6\n", "{kind:?}");
        assert!(took >= Duration::from_millis(200), "{kind:?}: {took:?}");
        assert!(took < Duration::from_secs(20), "{kind:?}: {took:?}");
        let end = End::of(&mut run("ticker", kind, &["--every", "1", "--count=2"]));
        assert_eq!(end.stdout, "tick 1\ntick 2\n", "{kind:?}");
    }
}

#[test]
fn a_guest_has_the_hosts_time_of_day() {
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for kind in Kind::available() {
        let before = seconds();
        let end = End::of(&mut run("ticker", kind, &["--count=0", "--wall"]));
        let told: u64 = end.stdout.trim().parse().unwrap();
        assert!((before..=seconds()).contains(&told), "{kind:?}: {told}");
    }
}

#[test]
fn chatter_loses_no_line() {
    for kind in Kind::available() {
        let end = End::of(&mut run("chatter", kind, &["--lines=5000"]));
        assert_eq!(end.status, 0, "{kind:?}");
        let numbers = end.stdout.lines().map(|line| {
            assert_eq!(line.len(), 63);
            line.split(' ').nth(1).unwrap().parse::<u32>().unwrap()
        });
        assert!(numbers.eq(1..=5000), "{kind:?}");
    }
}

#[test]
fn a_machine_runs_confined() {
    for kind in Kind::available() {
        let machine = Running::after(&mut run("ticker", kind, &[]), 7);
        assert_eq!(machine.property("status", "Seccomp"), "2", "{kind:?}");
        assert_eq!(machine.property("status", "NoNewPrivs"), "1", "{kind:?}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let bits = machine.property("status", set);
            // Only root can, and has to, empty the bounding set.
            if set != "CapBnd" || rustix::process::geteuid().is_root() {
                assert_eq!(bits, "0000000000000000", "{kind:?} {set}");
            }
        }
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", machine.0.id())).unwrap();
        for descriptor in descriptors {
            let target = std::fs::read_link(descriptor.unwrap().path()).unwrap();
            let image = guest("ticker", kind);
            // The symbols of an hvt guest are looked up when it has failed.
            assert!(kind == Kind::Hvt || target != image, "the image is still open");
        }
    }
}

#[test]
fn a_new_session_leaves_terminal_core_files_and_blocked_signals_behind() {
    for kind in Kind::available() {
        let mut command = tender(["run", "--new-session"]);
        let machine = Running::after(command.arg(guest("ticker", kind)), 7);
        let stat = machine.proc("stat");
        let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap();
        assert_eq!(session, machine.0.id().to_string(), "{kind:?}");
        let limit = machine.property("limits", "Max core file size");
        assert!(limit.starts_with("0 "), "{kind:?}: {limit}");
        assert_eq!(machine.property("status", "SigBlk"), "0000000000000000", "{kind:?}");
    }
}

#[test]
fn sigterm_ends_an_spt_machine_as_any_process_and_an_hvt_machine_with_status_1() {
    for kind in Kind::available() {
        let machine = Running::after(&mut run("ticker", kind, &[]), 7);
        let (status, stderr) = machine.signal("TERM");
        match kind {
            Kind::Spt => assert_eq!((status, &*stderr), (128 + 15, "")),
            Kind::Hvt => {
                assert_eq!((status, &*stderr), (1, "vmm-tender: Exiting on signal 15\n"));
            }
        }
    }
}

#[test]
fn sigterm_ends_a_machine_that_is_the_first_process_of_a_namespace() {
    for (kind, status) in Kind::available().into_iter().zip([143, 1]) {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
        command.arg(env!("CARGO_BIN_EXE_vmm-tender")).args(["run", "--mem", "8"]);
        command.arg(guest("ticker", kind)).args(["--", "--every=10"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outside = Running::after(&mut command, "tick 1\n".len());
        let children = outside.proc(&format!("task/{}/children", outside.0.id()));
        let killed = Command::new("kill").args(["-s", "TERM", children.trim()]).status();
        assert!(killed.unwrap().success());
        // Had a signal ended it, that would be the status of no program.
        assert_eq!(outside.0.wait().unwrap().code(), Some(status), "{kind:?}");
    }
}

#[test]
fn sigterm_ends_a_machine_whose_console_is_full_and_unread() {
    for kind in Kind::available() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = run("chatter", kind, &[]);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut machine = Running(command.spawn().unwrap());
        drop(command);
        let room = fcntl_getpipe_size(&reader).unwrap() as u64;
        until("a full console", || (ioctl_fionread(&reader).unwrap() == room).then_some(()));
        let id = Pid::from_raw(machine.0.id().cast_signed()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let status = until("the end of the machine", || machine.0.try_wait().unwrap());
        match kind {
            Kind::Spt => assert_eq!(status.signal(), Some(15)),
            Kind::Hvt => assert_eq!(status.code(), Some(1)),
        }
    }
}

#[test]
fn a_stopped_machine_goes_on() {
    for kind in Kind::available() {
        let mut command = run("ticker", kind, &["--every=300", "--count=3"]);
        let mut machine = Running::after(&mut command, 7);
        for signal in ["STOP", "CONT"] {
            let id = machine.0.id().to_string();
            let sent = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(sent.unwrap().success());
        }
        assert!(machine.0.wait().unwrap().success(), "{kind:?}");
    }
}

//! What a supervisor relies on: the status descriptor, inherited images, reports.

use std::io::Read;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vmm_testkit::until;

use crate::support::image::{self, Files};
use crate::support::{End, Kind, Running, guest, has_memory, kvm, memory_of_host, shell, tender};

#[test]
fn the_status_descriptor_says_ready_and_is_closed_while_the_machine_runs() {
    for kind in Kind::available() {
        let script = "exec \"$@\" 4>&1 >/dev/null";
        let mut command = shell(script, ["run", "--status", "@4"]);
        let child = command.arg(guest("ticker", kind)).spawn().unwrap();
        let mut machine = Running(child);
        let mut status = String::new();
        machine.0.stdout.as_mut().unwrap().read_to_string(&mut status).unwrap();
        assert_eq!(status, "ready\n", "{kind:?}");
        assert_eq!(machine.0.try_wait().unwrap(), None, "{kind:?}");
    }
}

#[test]
fn the_status_descriptor_says_why_a_machine_does_not_start() {
    let status_of = |arguments: &[&str]| {
        let end = End::of(&mut shell("exec \"$@\" 4>&1 >/dev/null", arguments));
        assert_eq!(end.status, 1);
        assert_eq!(end.stderr, format!("vmm-tender: {}", end.stdout));
        end.stdout
    };
    let image = guest("hello", Kind::Spt);
    let image = image.to_str().unwrap();
    assert_eq!(
        status_of(&["run", "--status", "@4", "/nonexistent"]),
        "cannot open \"/nonexistent\": No such file or directory (os error 2)\n"
    );
    assert_eq!(
        status_of(&["run", image, "--status", "@4", "--mem", "1"]),
        "the image does not fit: segment 1 ends at 0x102000, past the guest's 0x100000 bytes of memory\n"
    );
    assert_eq!(
        status_of(&["run", image, "--net:service=tap0", "--status=@4"]),
        "unknown option \"--net:service=tap0\" (try: vmm-tender --help)\n"
    );
    assert_eq!(status_of(&["run", "@9", "--status", "@4"]), "descriptor @9 is not open\n");
    let longest = "x".repeat(8192);
    assert!(status_of(&["run", image, "--status=@4", "--", &longest]).contains("too long"));
}

#[test]
fn a_status_descriptor_that_is_not_open_is_refused() {
    let end = End::of(tender(["run", "--status", "@9"]).arg(guest("hello", Kind::Spt)));
    let message = "vmm-tender: descriptor @9 is not open\n";
    assert_eq!((end.status, &*end.stdout, &*end.stderr), (1, "", message));
}

#[test]
fn a_machine_whose_status_nobody_reads_does_not_run() {
    for kind in Kind::available() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        // A child that another thread starts has it, too, until it is another program.
        until("a broken pipe", || {
            let mut fds = [PollFd::new(&writer, PollFlags::OUT)];
            poll(&mut fds, Some(&Timespec::default())).unwrap();
            fds[0].revents().contains(PollFlags::ERR).then_some(())
        });
        let mut command = shell("exec \"$@\" 4>&1 >/dev/null", ["run", "--status", "@4"]);
        let end = End::of(command.arg(guest("hello", kind)).stdout(writer));
        let message =
            "vmm-tender: cannot write to the status descriptor: Broken pipe (os error 32)\n";
        assert_eq!((end.status, &*end.stderr), (1, message), "{kind:?}");
    }
}

#[test]
fn an_inherited_image_is_read_by_position() {
    for kind in Kind::available() {
        // The shell has read a part of it before.
        let script = "exec 3<\"$IMAGE\"; head -c 100 <&3 >/dev/null; exec \"$@\"";
        let mut command = shell(script, ["run", "@3", "--", "--name=three"]);
        let end = End::of(command.env("IMAGE", guest("hello", kind)));
        assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
        assert_eq!(end.stdout, "Hello from three\n--name=three\n", "{kind:?}");
        let mut command = shell(script, ["inspect", "@3", "--format=json"]);
        let end = End::of(command.env("IMAGE", guest("hello", kind)));
        assert_eq!(end.status, 0, "{}", end.stderr);
    }
}

#[test]
fn a_report_says_what_is_in_an_image() {
    let files = Files::new();
    let ret = image::load(image::TEXT, image::READ | image::EXECUTE, &[0xC3; 5]);
    let mut data = image::load(0x10_2010, image::READ | image::WRITE, &[1; 16]);
    data.memory_size = 0x10_0000;
    let parts = [ret, data, image::abi(2, 1), image::manifest(&[("service", 2), ("storage", 1)])];
    let path = files.with(&image::elf(&parts));
    let json = End::of(tender(["inspect", "--format", "json"]).arg(&path));
    assert_eq!(
        json.stdout,
        concat!(
            r#"{"kind":"spt","abi":1,"entry":1048576,"min_memory_mib":3,"segments":["#,
            r#"{"address":1048576,"file_size":5,"memory_size":5,"flags":"rx"},"#,
            r#"{"address":1056784,"file_size":16,"memory_size":1048576,"flags":"rw"}],"#,
            r#""devices":[{"name":"service","type":"net"},{"name":"storage","type":"block"}],"#,
            r#""runnable":true,"why_not":null}"#,
            "\n"
        )
    );
    let text = End::of(tender(["inspect"]).arg(&path));
    let expected = "\
spt image, ABI version 1
entry: 0x100000
memory: at least 3 MiB
segment: 0x100000 rx 5 bytes in memory, 5 from the file
segment: 0x102010 rw 1048576 bytes in memory, 16 from the file
device: service (net)
device: storage (block)
runnable: yes
";
    assert_eq!((text.status, &*text.stdout), (0, expected));
}

#[test]
fn samples_are_runnable_with_the_memory_that_their_report_says() {
    for kind in Kind::available() {
        let image = guest("hello", kind);
        let report = End::of(tender(["inspect", "--format", "json"]).arg(&image)).stdout;
        assert!(report.contains(r#""runnable":true,"why_not":null"#), "{report}");
        assert!(report.contains(r#""min_memory_mib":2"#), "{report}");
        let end = End::of(tender(["run", "--mem", "2"]).arg(&image));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}");
    }
}

#[test]
fn memory_of_an_hvt_machine_is_a_multiple_of_2_mib() {
    if !kvm() {
        return;
    }
    let image = guest("hello", Kind::Hvt);
    let end = End::of(tender(["run", "--mem", "3"]).arg(&image));
    assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"));
    assert_eq!(end.stderr, "vmm-tender: adjusting memory to 2097152 bytes\n");
    if !has_memory(4097) {
        return;
    }
    let end = End::of(tender(["run", "--mem", "4097"]).arg(&image));
    assert_eq!(end.status, 1);
    assert!(end.stderr.contains("an hvt guest has at most 4096 MiB"), "{}", end.stderr);
    let end = End::of(tender(["run", "--mem", "4096"]).arg(&image));
    assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{}", end.stderr);
}

#[test]
fn the_least_memory_is_1_mib_and_2_for_hvt() {
    for kind in Kind::available() {
        let mut command = tender(["run", "--mem", "0"]);
        let end = End::of(command.arg(guest("hello", kind)));
        let rule = "vmm-tender: --mem wants a number of MiB from 1 on, not \"0\"";
        assert!(end.status == 1 && end.stderr.starts_with(rule), "{}", end.stderr);
        let mut command = tender(["run", "--mem", "1"]);
        let end = End::of(command.arg(guest("hello", kind)));
        match kind {
            Kind::Spt => {
                let rule = "vmm-tender: the image does not fit: segment 1 ends at 0x";
                assert!(end.status == 1 && end.stderr.starts_with(rule), "{}", end.stderr);
                let rule = "past the guest's 0x100000 bytes of memory\n";
                assert!(end.stderr.ends_with(rule), "{}", end.stderr);
            }
            Kind::Hvt => {
                let said = "vmm-tender: adjusting memory to 2097152 bytes\n";
                assert_eq!((end.status, &*end.stderr), (0, said));
            }
        }
    }
}

#[test]
fn an_spt_machine_can_have_more_than_4_gib() {
    if has_memory(5000) {
        let end = End::of(tender(["run", "--mem", "5000"]).arg(guest("hello", Kind::Spt)));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{}", end.stderr);
    }
}

#[test]
fn memory_that_does_not_exist_is_refused_with_the_rule() {
    let has = memory_of_host();
    for kind in Kind::available() {
        let refused = |mib: u64| {
            let mib = mib.to_string();
            let end = End::of(tender(["run", "--mem", &mib]).arg(guest("hello", kind)));
            assert_eq!((end.status, &*end.stdout), (1, ""), "{kind:?} {mib}");
            let prefix = format!("vmm-tender: guest memory of {mib} MiB is not possible: ");
            let reason = end.stderr.strip_prefix(&prefix);
            reason.unwrap_or_else(|| panic!("{}", end.stderr)).to_owned()
        };
        let rule = format!("this host has {has} MiB, its swap space included\n");
        for mib in [has + 1, 1 << 30, 1 << 43] {
            assert_eq!(refused(mib), rule, "{kind:?} {mib}");
        }
        for mib in [1 << 44, u64::MAX] {
            assert_eq!(refused(mib), "it is past the 64-bit address space\n", "{kind:?}");
        }
    }
}

const KVM_OPEN: [&str; 3] = ["run", "--mem=8", "--kvm=@7"];

#[test]
fn kvm_that_is_open_already_is_used_and_no_spt_guest_keeps_it() {
    if !kvm() {
        return;
    }
    let open = "exec \"$@\" 7<>/dev/kvm";
    for kind in Kind::available() {
        let hello = guest("hello", kind);
        let end = End::of(shell(open, KVM_OPEN).arg(hello));
        assert_eq!((end.status, &*end.stdout), (0, "Hello from hello\n"), "{kind:?}: {end:?}");
    }
    let mut command = shell(open, KVM_OPEN);
    let ticker = Running::after(command.arg(guest("ticker", Kind::Spt)), "tick 1\n".len());
    let opened = std::fs::read_dir(format!("/proc/{}/fd", ticker.0.id())).unwrap();
    for entry in opened {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        assert_ne!(target.to_str(), Some("/dev/kvm"));
    }

    let end = End::of(shell("exec \"$@\" 7</dev/null", KVM_OPEN).arg(guest("hello", Kind::Hvt)));
    assert_eq!((end.status, &*end.stderr), (1, "vmm-tender: KVM has API version -1, not 12\n"));
}

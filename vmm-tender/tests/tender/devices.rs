//! Attaching devices: what is accepted, what is refused, and what guests then do with them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use vmm_testkit::skipped;

use crate::support::image::{self, Files};
use crate::support::{End, Kind, guest, kvm, shell, tender};

const CAPACITY: u64 = 256 * 1024;

/// A file of a size, as a block device.
fn disk(files: &Files, name: &str, size: u64) -> String {
    let path = files.path(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path.to_str().unwrap().to_owned()
}

/// `vmm-tender run` of a sample with options of the tender and arguments of the guest.
fn run(name: &str, kind: Kind, options: &[&str], arguments: &[&str]) -> Command {
    let mut command = tender(["run", "--mem", "8"]);
    command.args(options).arg(guest(name, kind)).arg("--").args(arguments);
    command
}

/// The same with descriptors 5 and so on for what `redirections` (of a shell) make of standard
/// input, which is `input`.
fn run_with(
    redirections: &str,
    input: OwnedFd,
    name: &str,
    kind: Kind,
    options: &[&str],
    arguments: &[&str],
) -> Command {
    let script = format!("exec \"$@\" {redirections} </dev/null");
    let mut command = shell(&script, ["run", "--mem", "8"]);
    command.stdin(input).args(options).arg(guest(name, kind)).arg("--").args(arguments);
    command
}

/// What a refused machine says, for hvt or spt alike.
fn refused(name: &str, options: &[&str]) -> String {
    let end = End::of(&mut run(name, Kind::Spt, options, &[]));
    assert_eq!((end.status, &*end.stdout), (1, ""), "{options:?}");
    end.stderr.strip_prefix("vmm-tender: ").unwrap().trim_end().to_owned()
}

#[test]
fn what_one_machine_writes_on_a_disk_another_reads() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    let block = format!("storage={path}");
    for kind in Kind::available() {
        let end = End::of(&mut run("disk", kind, &["--block", &block], &["--seed=7"]));
        let stdout = "disk: 512 blocks of 512 bytes\ndisk: 512 blocks verified\n".to_owned();
        assert_eq!(end, End { status: 0, stdout, stderr: String::new() }, "{kind:?}");
        for other in Kind::available() {
            let verify =
                |seed| End::of(&mut run("disk", other, &["--block", &block], &["--verify", seed]));
            assert_eq!(verify("--seed=7").status, 0, "{kind:?} {other:?}");
            let differs = verify("--seed=8");
            assert_eq!(differs.status, 1);
            assert!(differs.stdout.ends_with("disk: block 0: Differs\n"), "{}", differs.stdout);
        }
    }
}

#[test]
fn a_disk_has_the_block_size_that_it_is_given() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    for kind in Kind::available() {
        for (size, blocks) in [("4096", 64), ("32768", 8)] {
            let options = [
                "--block-sector-size",
                &format!("storage={size}"),
                &format!("--block=storage={path}"),
            ];
            let end = End::of(&mut run("disk", kind, &options, &[]));
            let stdout =
                format!("disk: {blocks} blocks of {size} bytes\ndisk: {blocks} blocks verified\n");
            assert_eq!(end, End { status: 0, stdout, stderr: String::new() }, "{kind:?}");
        }
    }
}

#[test]
fn a_disk_can_be_an_inherited_descriptor() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    for kind in Kind::available() {
        let options = ["--block", "storage=@5"];
        let end = End::of(&mut run_with("5<&0", open().into(), "disk", kind, &options, &[]));
        assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
    }
    let refused = |redirections, input: File| {
        let options = ["--block", "storage=@5"];
        let mut command = run_with(redirections, input.into(), "disk", Kind::Spt, &options, &[]);
        let end = End::of(&mut command);
        assert_eq!((end.status, &*end.stdout), (1, ""));
        end.stderr.strip_prefix("vmm-tender: ").unwrap().trim_end().to_owned()
    };
    assert_eq!(refused("", open()), "descriptor @5 is not open");
    // Neither is what the tender itself opens first.
    let end = End::of(&mut run("disk", Kind::Spt, &["--block", "storage=@3"], &[]));
    assert_eq!((end.status, &*end.stderr), (1, "vmm-tender: descriptor @3 is not open\n"));
    let expected = "Could not attach block device 'storage': ";
    let reading = File::open(&path).unwrap();
    let reason = "it is not open for reading and writing";
    assert_eq!(refused("5<&0", reading), format!("{expected}{reason}"));
    let appending = File::options().read(true).append(true).open(&path).unwrap();
    let reason = "it is open for appending, which ignores offsets";
    assert_eq!(refused("5<&0", appending), format!("{expected}{reason}"));
}

#[test]
fn a_full_disk_is_a_failed_write_for_the_guest_and_no_end_of_the_tender() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a full disk, as this is not root");
    }
    let files = Files::new();
    let place = files.path("");
    let script =
        "set -e; mount -t tmpfs -o size=64k none \"$0\"; truncate -s 1M \"$0/disk\"; exec \"$@\"";
    for kind in Kind::available() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&place);
        command.args([env!("CARGO_BIN_EXE_vmm-tender"), "run", "--block"]);
        command.arg(format!("storage={}/disk", place.to_str().unwrap())).arg(guest("disk", kind));
        let end = End::of(&mut command);
        assert_eq!((end.status, &*end.stderr), (1, ""), "{kind:?}");
        assert!(end.stdout.contains("CannotWrite(Unspecified)"), "{kind:?} {}", end.stdout);
    }
}

#[test]
fn a_file_that_may_not_grow_is_a_failed_write_for_an_hvt_guest_and_the_end_of_an_spt_guest() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    for kind in Kind::available() {
        // 64 blocks of 1024 or of 512 bytes, as the shell counts.
        let mut command = shell("ulimit -f 64; exec \"$@\"", ["run", "--mem", "8", "--block"]);
        command.arg(format!("storage={path}")).arg(guest("disk", kind));
        let end = End::of(&mut command);
        match kind {
            Kind::Hvt => {
                assert_eq!((end.status, &*end.stderr), (1, ""));
                assert!(end.stdout.contains("CannotWrite(Unspecified)"), "{}", end.stdout);
            }
            // Its own system call, and its own signal: SIGXFSZ.
            Kind::Spt => assert_eq!((end.status, &*end.stderr), (128 + 25, "")),
        }
    }
}

#[test]
fn files_that_are_no_disk_are_refused() {
    let files = Files::new();
    let block = |path: &str| refused("disk", &["--block", &format!("storage={path}")]);
    let odd = disk(&files, "odd", 1000);
    assert_eq!(
        block(&odd),
        "Backing storage size must be block aligned (512 bytes): 'storage' has 1000 bytes"
    );
    let empty = disk(&files, "empty", 0);
    assert_eq!(
        block(&empty),
        "Backing storage must be at least 1 block (512 bytes) in size: 'storage'"
    );
    let small = disk(&files, "small", 2048);
    let options = ["--block", &format!("storage={small}"), "--block-sector-size=storage=4096"];
    assert_eq!(
        refused("disk", &options),
        "Backing storage size must be block aligned (4096 bytes): 'storage' has 2048 bytes"
    );
    assert_eq!(
        block("/nonexistent"),
        "Could not open block device: \"/nonexistent\": No such file or directory (os error 2)"
    );
    assert_eq!(block("/"), "Could not open block device: \"/\": Is a directory (os error 21)");
    assert_eq!(
        block("/dev/null"),
        "Could not attach block device 'storage': a regular file or a block device is wanted"
    );
}

#[test]
fn all_declared_devices_are_attached_and_no_other() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    let missing = |name, kind| {
        format!(
            "Device '{name}' of type {kind} declared but not attached. All declared devices must be attached"
        )
    };
    assert_eq!(refused("disk", &[]), missing("storage", "BLOCK_BASIC"));
    assert_eq!(refused("echo", &[]), missing("service", "NET_BASIC"));
    let block = format!("storage={path}");
    assert_eq!(refused("abi", &["--block", &block]), missing("service", "NET_BASIC"));
    let undeclared =
        |name, kind| format!("Resource not declared in manifest: '{name}' as {kind} device");
    let other = format!("other={path}");
    assert_eq!(refused("disk", &["--block", &other]), undeclared("other", "block"));
    assert_eq!(refused("hello", &["--block", &block]), undeclared("storage", "block"));
    assert_eq!(refused("disk", &["--net", "storage=tap0"]), undeclared("storage", "net"));
    assert_eq!(
        refused("disk", &["--block", &block, "--block", &block]),
        "--block storage is given twice (try: vmm-tender --help)"
    );
}

#[test]
fn as_many_devices_as_a_manifest_can_have_can_be_attached() {
    let files = Files::new();
    let path = disk(&files, "disk", CAPACITY);
    let names: Vec<_> = (1..=63).map(|number| format!("b{number}")).collect();
    let devices: Vec<_> = names.iter().map(|name| (&**name, 1)).collect();
    // exit_group(7): xor eax, eax; mov al, 231; mov edi, 7; syscall.
    let text = [0x31, 0xC0, 0xB0, 0xE7, 0xBF, 7, 0, 0, 0, 0x0F, 0x05];
    let parts = [
        image::load(image::TEXT, image::READ | image::EXECUTE, &text),
        image::abi(2, 2),
        image::manifest(&devices),
    ];
    let image = files.with(&image::elf(&parts));
    let mut command = tender(["run", "--mem", "4"]);
    for name in &names {
        command.arg(format!("--block={name}={path}"));
    }
    let end = End::of(command.arg(image));
    assert_eq!(end, End { status: 7, stdout: String::new(), stderr: String::new() });
}

/// `abi` with a packet socket as its network device.
fn abi(kind: Kind, disk: &Path, arguments: &[&str]) -> End {
    let (ours, peer) = UnixDatagram::pair().unwrap();
    let block = format!("storage={}", disk.to_str().unwrap());
    let options = ["--block", &block, "--net=service=@5", "--net-mac=service=02:00:00:00:00:09"];
    let end = End::of(&mut run_with("5<&0", ours.into(), "abi", kind, &options, arguments));
    drop(peer);
    end
}

#[test]
fn every_call_has_the_results_of_the_abi() {
    let files = Files::new();
    disk(&files, "disk", CAPACITY);
    for kind in Kind::available() {
        let end = abi(kind, &files.path("disk"), &[]);
        assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?} {}", end.stdout);
        let expected = match kind {
            Kind::Spt => include_str!("abi/spt.txt"),
            Kind::Hvt => include_str!("abi/hvt.txt"),
        };
        assert_eq!(end.stdout, expected, "{kind:?}");
    }
}

#[test]
fn system_calls_on_devices_are_those_of_the_abi_or_the_end_of_an_spt_guest() {
    let files = Files::new();
    disk(&files, "disk", CAPACITY);
    for what in [
        "read-console",
        "read-input",
        "read-storage",
        "read-high",
        "write-storage",
        "write-high",
        "pread-service",
        "pread-past",
        "pread-negative",
        "pread-long",
        "pread-short",
        "pread-high",
        "pwrite-past",
        "pwrite-long",
        "pwrite-high",
        "clock-other",
        "epoll-other",
        "timer-other",
        "segment-other",
    ] {
        let end = abi(Kind::Spt, &files.path("disk"), &[&format!("--forbidden={what}")]);
        assert_eq!((end.status, &*end.stdout, &*end.stderr), (128 + 31, "", ""), "{what}");
    }
}

#[test]
fn hypercalls_on_devices_stay_within_memory_that_the_guest_may_use() {
    if !kvm() {
        return;
    }
    let files = Files::new();
    disk(&files, "disk", CAPACITY);
    for what in [
        "read-text",
        "read-low",
        "receive-text",
        "send-past",
        "block-past",
        "around",
        "structure-in-text",
        "net-structure-in-text",
    ] {
        let end = abi(Kind::Hvt, &files.path("disk"), &[&format!("--forbidden={what}")]);
        assert_eq!((end.status, &*end.stdout), (1, ""), "{what}");
        let expected = "vmm-tender: Invalid guest access: gpa=0x";
        assert!(end.stderr.starts_with(expected), "{what}: {}", end.stderr);
    }
}

//! Core files of guests that failed, as other programs find them.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmm_testkit::skipped;

use crate::postmortem::{FAILURES, was_reset};
use crate::support::image::Files;
use crate::support::links::{Links, text};
use crate::support::{End, Kind, guest, kvm, shell, tender};

/// The core files of hvt guests in a directory.
fn cores(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_core = |path: &PathBuf| path.to_str().unwrap().contains("/core.solo5-hvt.");
    entries.filter(is_core).collect()
}

/// What another program finds in a core file: the address of the instruction, of the stack, and
/// the eight bytes at the first.
fn look_into(core: &Path) -> (u64, u64, u64) {
    const SCRIPT: &str = "
import struct, sys
core = open(sys.argv[1], 'rb').read()
assert core[:7] == b'\\x7fELF\\2\\1\\1' and struct.unpack_from('<HH', core, 16) == (4, 62)
offset, = struct.unpack_from('<Q', core, 32)
note, load = [struct.unpack_from('<IIQQQQQQ', core, offset + 56 * i) for i in range(2)]
assert note[0] == 4 and load[0] == 1 and load[3] == 0 and load[5] == load[6]
assert load[2] + load[5] == len(core)
assert struct.unpack_from('<III', core, note[2]) == (8, 336, 1)
assert core[note[2] + 12:note[2] + 20] == b'CORE\\0\\0\\0\\0'
registers = struct.unpack_from('<27Q', core, note[2] + 20 + 112)
rip, rsp = registers[16], registers[19]
print(rip, rsp, struct.unpack_from('<Q', core, load[2] + rip)[0], load[5])
";
    let output = Command::new("python3").args(["-c", SCRIPT]).arg(core).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [rip, rsp, instruction, size] = words[..] else { panic!("{text}") };
    assert_eq!(size, 8 << 20);
    (rip, rsp, instruction)
}

/// The eight bytes of an image at an address of its text, which begins with the file's second page
/// or so.
fn code_at(image: &Path, address: u64) -> u64 {
    let bytes = std::fs::read(image).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let headers = (0..usize::from(bytes[56])).map(|index| 64 + 56 * index);
    let text =
        headers.filter(|&at| bytes[at] == 1).map(|at| (word(at + 8), word(at + 16), word(at + 32)));
    let (offset, start, _) =
        text.clone().find(|&(_, start, size)| (start..start + size).contains(&address)).unwrap();
    word(usize::try_from(address - start + offset).unwrap())
}

#[test]
fn a_failed_hvt_guest_leaves_a_core_file_on_request() {
    if !kvm() {
        return;
    }
    let image = guest("crasher", Kind::Hvt);
    let all = FAILURES.iter().map(|(how, _)| (*how, 1));
    for (how, status) in all.chain([("fault", 255), ("abort", 255), ("panic", 255)]) {
        let files = Files::new();
        let directory = files.path("");
        let end = End::of(
            tender(["run", "--mem=8", "--dumpcore"]).arg(&directory).arg(&image).args(["--", how]),
        );
        assert_eq!(end.status, status, "{how}: {}", end.stderr);
        let cores = cores(&directory);
        let [core] = &cores[..] else { panic!("{how}: {cores:?} {}", end.stderr) };
        let line = format!("vmm-tender: dumpcore: dumping guest core to: {}", text(core));
        assert!(end.stderr.lines().any(|said| said == line), "{how}: {}", end.stderr);
        assert!(end.stderr.contains(" pages of total 2048 pages\n"), "{how}: {}", end.stderr);

        let metadata = core.metadata().unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600, "{how}");
        assert!(metadata.blocks() * 512 < 1 << 20, "{how}: {} blocks", metadata.blocks());

        if was_reset(how, &end) {
            continue;
        }
        let (rip, rsp, instruction) = look_into(core);
        assert_eq!(instruction, code_at(&image, rip), "{how}");
        assert!((7 << 20..8 << 20).contains(&rsp), "{how}: {rsp:#x}");
        if status == 1 || how == "fault" {
            let expected = format!("at   {rip:#x} ");
            assert!(end.stderr.contains(&expected), "{how}: {} {expected}", end.stderr);
        }
        let notes = Command::new("readelf").args(["-n", "-l"]).arg(core).output().unwrap();
        let notes = String::from_utf8_lossy(&notes.stdout).into_owned();
        assert!(notes.contains("NT_PRSTATUS (prstatus structure)"), "{how}: {notes}");
        debugger(&image, core, rip);
    }
}

/// What gdb says, where there is one.
fn debugger(image: &Path, core: &Path, rip: u64) {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-q", "-batch", "-ex", "info symbol $rip", "-ex", "info registers rip"]);
    let Ok(output) = command.arg(image).arg(core).output() else {
        eprintln!("gdb is not installed: a core file was not opened in it");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("{rip:#x}")) && said.contains("in section .text"), "{said}");
}

#[test]
fn a_guest_that_ends_well_leaves_no_core_file() {
    for kind in Kind::available() {
        let files = Files::new();
        for how in ["--exit=0", "--exit=7", "--exit=254"] {
            let mut command = tender(["run", "--mem=8", "--dumpcore"]);
            let end =
                End::of(command.arg(files.path("")).arg(guest("hello", kind)).args(["--", how]));
            assert_eq!(end.stderr, "", "{kind:?}");
        }
        assert_eq!(std::fs::read_dir(files.path("")).unwrap().count(), 0, "{kind:?}");
    }
}

#[test]
fn a_core_file_replaces_nothing_and_follows_no_link() {
    if !kvm() {
        return;
    }
    for obstacle in ["echo precious >", "ln -s victim"] {
        let files = Files::new();
        // The shell becomes the tender: it knows its process number.
        let script = format!("cd \"$D\" && {obstacle} core.solo5-hvt.$$ && exec \"$@\"");
        let mut command = shell(&script, ["run", "--mem=8", "--dumpcore=."]);
        command.env("D", files.path("")).arg(guest("crasher", Kind::Hvt)).args(["--", "abort"]);
        let end = End::of(&mut command);
        assert_eq!(end.status, 255, "{obstacle}");
        assert!(end.stderr.starts_with("vmm-tender: dumpcore: cannot make ./core.solo5-hvt."));
        assert!(end.stderr.ends_with(": File exists (os error 17)\n"), "{}", end.stderr);
        assert!(!files.path("victim").exists());
        let core = &cores(&files.path(""))[0];
        if obstacle.starts_with("echo") {
            assert_eq!(std::fs::read_to_string(core).unwrap(), "precious\n");
        }
    }
}

#[test]
fn a_disk_that_is_full_leaves_an_incomplete_core_file_and_the_status_of_the_guest() {
    if !kvm() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skipped("a core file on a full disk, as this is not root");
    }
    let files = Files::new();
    let script = "mount -t tmpfs -o size=16k none \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(files.path(""));
    command.args([env!("CARGO_BIN_EXE_vmm-tender"), "run", "--mem=8", "--dumpcore"]);
    let end =
        End::of(command.arg(files.path("")).arg(guest("crasher", Kind::Hvt)).args(["--", "abort"]));
    assert_eq!(end.status, 255, "{}", end.stderr);
    let expected = " is incomplete: No space left on device (os error 28)\n";
    assert!(end.stderr.ends_with(expected), "{}", end.stderr);
}

#[test]
fn a_directory_that_cannot_take_core_files_is_refused_before_the_guest_starts() {
    let files = Files::new();
    let file = files.with(b"");
    symlink("nowhere", files.path("dangling")).unwrap();
    // Root could write there, but it has given up what it could do it with.
    let closed = files.path("closed");
    DirBuilder::new().mode(0o555).create(&closed).unwrap();
    for kind in Kind::available() {
        let refused = |directory: &Path| {
            let mut command = tender(["run", "--mem=8", "--dumpcore"]);
            let end = End::of(command.arg(directory).arg(guest("hello", kind)));
            assert_eq!((end.status, &*end.stdout), (1, ""), "{kind:?}");
            let start = format!("vmm-tender: dumpcore: no file can be made in {directory:?}: ");
            end.stderr.strip_prefix(&start).unwrap_or_else(|| panic!("{}", end.stderr)).to_owned()
        };
        assert_eq!(refused(Path::new("/none")), "No such file or directory (os error 2)\n");
        assert_eq!(refused(&files.path("dangling")), "No such file or directory (os error 2)\n");
        assert_eq!(refused(&file), "Not a directory (os error 20)\n");
        let denied = refused(&closed);
        assert!(denied.starts_with("Permission denied (os error 13)"), "{kind:?}: {denied}");
    }
}

#[test]
fn of_an_spt_guest_the_kernel_leaves_the_core_file() {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let files = Files::new();
    let run = |more: &[&str]| {
        let mut command = tender(["run", "--mem=8"]);
        command.args(more).arg("--dumpcore").arg(files.path(""));
        End::of(command.arg(guest("crasher", Kind::Spt)).args(["--", "fault"]))
    };
    let end = run(&[]);
    if pattern.starts_with('/') {
        let expected = "vmm-tender: dumpcore: the kernel has another place for core files: ";
        assert!(end.status == 1 && end.stderr.starts_with(expected), "{}", end.stderr);
        return;
    }
    assert_eq!((end.status, &*end.stderr), (128 + 11, ""));
    if pattern.starts_with('|') {
        // A program has it now, whoever that is.
        return;
    }
    let entries: Vec<_> = std::fs::read_dir(files.path("")).unwrap().collect();
    let [Ok(core)] = &entries[..] else { panic!("{entries:?}") };
    let bytes = std::fs::read(core.path()).unwrap();
    // An ELF file for x86-64 that is a core, with the guest's memory of 8 MiB.
    assert_eq!((&bytes[..4], &bytes[16..20]), (&b"\x7fELF"[..], &[4, 0, 62, 0][..]));
    assert!(bytes.len() > 7 << 20, "{}", bytes.len());

    let end = run(&["--new-session"]);
    let expected = "vmm-tender: dumpcore: core files of this process are forbidden: ";
    assert!(end.stderr.starts_with(expected), "{}", end.stderr);
    assert_eq!(end.status, 1);
}

#[test]
fn the_tender_for_debugging_has_its_options() {
    let links = Links::new();
    let crasher = text(&guest("crasher", Kind::Hvt));
    let directory = text(&links.files.path("cores"));
    std::fs::create_dir(&directory).unwrap();
    let option = format!("--dumpcore={directory}");
    if kvm() {
        let end = links.end("solo5-hvt-debug", &["--mem=8", &option, &crasher, "abort"]);
        assert_eq!(end.status, 255);
        let [core] = &cores(Path::new(&directory))[..] else { panic!("{}", end.stderr) };
        let expected =
            format!("solo5-hvt-debug: dumpcore: dumping guest core to: {}\n", text(core));
        assert!(end.stderr.starts_with(&expected), "{}", end.stderr);
    }
    let version = links.end("solo5-hvt-debug", &["--version"]).stderr;
    assert!(version.starts_with("solo5-hvt-debug tender, version vmm-tender "), "{version}");
    assert!(version.ends_with("\nABI version 2\n"), "{version}");
    let help = links.end("solo5-hvt-debug", &["--help"]);
    assert!(help.status == 1 && help.stderr.contains("[ --dumpcore=DIR ]"), "{help:?}");

    let end = links.end("solo5-hvt-debug", &["--dumpcore=/none", &crasher]);
    assert_eq!(end.status, 1);
    assert!(end.stderr.starts_with("solo5-hvt-debug: dumpcore: no file can be made in \"/none\""));
    for gdb in ["--gdb", "--gdb-port=1234"] {
        let end = links.end("solo5-hvt-debug", &[gdb, &crasher]);
        let expected = format!("solo5-hvt-debug: Invalid option: `{gdb}'\nusage: ");
        assert!(end.status == 1 && end.stderr.contains(&expected), "{}", end.stderr);
    }
    for (name, kind) in [("solo5-hvt", Kind::Hvt), ("solo5-spt", Kind::Spt)] {
        let end = links.end(name, &[&option, &text(&guest("crasher", kind))]);
        let expected = format!("{name}: Invalid option: `{option}'\nusage: ");
        assert!(end.status == 1 && end.stderr.starts_with(&expected), "{}", end.stderr);
    }
}

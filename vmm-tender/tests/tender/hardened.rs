//! Where the tenders of Solo5 0.12 crash, hang, trust a file or refuse what they document, and
//! this one in their place does not.

use std::fs::File;
use std::process::Stdio;

use crate::support::image::Files;
use crate::support::links::{Links, name, text};
use crate::support::network::{in_network, open_tap, tap};
use crate::support::{End, Kind, guest, kvm};

const IFF_TAP_NO_PI: u16 = 0x1002;

/// The arguments for `abi` without its network device.
fn storage(files: &Files) -> String {
    let path = files.path("disk");
    File::create(&path).unwrap().set_len(64 * 1024).unwrap();
    format!("--block:storage={}", text(&path))
}

#[test]
fn a_structure_in_the_guests_own_text_ends_the_guest_in_order() {
    if !kvm() {
        return;
    }
    let links = Links::new();
    let crasher = text(&guest("crasher", Kind::Hvt));
    for how in ["struct-in-text", "poll-in-text"] {
        let end = links.end("solo5-hvt", &["--mem=8", &crasher, how]);
        assert_eq!((end.status, &*end.stdout), (1, ""), "{how}");
        let expected = "solo5-hvt: Invalid guest access: gpa=0x10";
        assert!(end.stderr.starts_with(expected), "{how}: {}", end.stderr);
    }
}

#[test]
fn a_forbidden_system_call_ends_the_whole_process_at_once() {
    let links = Links::new();
    let crasher = text(&guest("crasher", Kind::Spt));
    // That it ends is the point: a killed thread alone leaves its process waiting for ever.
    let end = links.end("solo5-spt", &["--mem=8", &crasher, "syscall"]);
    assert_eq!((end.status, &*end.stderr), (128 + 31, ""));
}

#[test]
fn a_console_on_a_full_disk_is_an_error_and_no_hang() {
    let links = Links::new();
    for kind in Kind::available() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let hello = text(&guest("hello", kind));
        let end = End::of(links.command(name(kind), &["--mem=8", &hello]).stdout(full));
        match kind {
            // Its own system call fails, which it takes for no reason to end.
            Kind::Spt => assert_eq!((end.status, &*end.stderr), (0, "")),
            Kind::Hvt => {
                let message = "solo5-hvt: cannot write console output: No space left on device (os error 28)\n";
                assert_eq!((end.status, &*end.stderr), (1, message));
            }
        }
    }
}

#[test]
fn a_console_that_nobody_reads_any_more_is_an_error_and_no_hang() {
    if !kvm() {
        return;
    }
    let links = Links::new();
    let chatter = text(&guest("chatter", Kind::Hvt));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let end = End::of(links.command("solo5-hvt", &["--mem=8", &chatter]).stdout(writer));
    let message = "solo5-hvt: cannot write console output: Broken pipe (os error 32)\n";
    assert_eq!((end.status, &*end.stderr), (1, message));
}

#[test]
fn a_tap_can_be_an_inherited_descriptor() {
    in_network(&format!("{}; ip link set tap0 mtu 1300", tap("tap0", "10.0.0.1/24")), || {
        let links = Links::new();
        let block = storage(&links.files);
        for kind in Kind::available() {
            // Descriptor 3 of a shell that becomes the tender.
            let tender = text(&links.files.path(name(kind)));
            let abi = text(&guest("abi", kind));
            let end = End::of(
                std::process::Command::new("sh")
                    .args(["-c", "exec \"$@\" 3<&0 </dev/null", "sh", &tender, "--mem=8", &block])
                    .args(["--net:service=@3", "--net-mac:service=02:00:00:00:00:0b", &abi])
                    .stdin(open_tap("tap0", IFF_TAP_NO_PI))
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped()),
            );
            assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
            let first = end.stdout.lines().next();
            assert_eq!(first, Some("service: mac [02, 00, 00, 00, 00, 0b] mtu 1300"), "{kind:?}");
        }
    });
}

#[test]
fn what_a_file_presets_about_its_devices_is_ignored() {
    const ENTRY_PROPERTIES: usize = 72;
    let links = Links::new();
    let block = storage(&links.files);
    for kind in Kind::available() {
        let mut bytes = std::fs::read(guest("disk", kind)).unwrap();
        let name_at = |bytes: &[u8]| bytes.windows(8).position(|part| part == b"storage\0");
        // The first is that of the manifest: notes stand before the strings of the program.
        let entries: Vec<_> = (0..bytes.len() - 104)
            .filter(|&at| name_at(&bytes[at..at + 8]) == Some(0))
            .filter(|&at| {
                bytes[at + 8..at + 68] == [0; 60] && bytes[at + 68..at + 72] == [1, 0, 0, 0]
            })
            .collect();
        assert_eq!(entries.len(), 1);
        let properties = entries[0] + ENTRY_PROPERTIES;
        // A capacity, and blocks of 1000 bytes.
        bytes[properties..properties + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
        bytes[properties + 8..properties + 10].copy_from_slice(&1000u16.to_le_bytes());
        let image = text(&links.files.with(&bytes));
        let end = links.end(name(kind), &["--mem=8", &block, &image]);
        let stdout = "disk: 128 blocks of 512 bytes\ndisk: 128 blocks verified\n".to_owned();
        assert_eq!(end, End { status: 0, stdout, stderr: String::new() }, "{kind:?}");
    }
}

#[test]
fn handles_are_compared_with_all_their_64_bits() {
    if !kvm() {
        return;
    }
    in_network(&tap("tap0", "10.0.0.1/24"), || {
        let links = Links::new();
        let block = storage(&links.files);
        let abi = text(&guest("abi", Kind::Hvt));
        let end = links.end("solo5-hvt", &["--mem=8", &block, "--net:service=tap0", &abi]);
        assert_eq!((end.status, &*end.stderr), (0, ""));
        for device in ["block", "net"] {
            let line = format!("{device}, 33 bits: write 2 read 2");
            assert!(end.stdout.lines().any(|said| said == line), "{}", end.stdout);
        }
    });
}

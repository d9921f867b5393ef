//! The tender in the place of `solo5-hvt` and `solo5-spt`, through links of these names.

use crate::support::image;
use crate::support::links::{Links, name, text};
use crate::support::network::{in_network, tap};
use crate::support::{End, Kind, Running, guest, kvm};

#[test]
fn a_unikernel_runs_with_its_arguments() {
    let links = Links::new();
    for kind in Kind::available() {
        let hello = text(&guest("hello", kind));
        for options in [&["--mem=8"][..], &["--mem=2048", "--mem=8", "--"]] {
            let arguments = [options, &[&hello, "--mem=1", "", "b", "--exit=7"]].concat();
            let end = links.end(name(kind), &arguments);
            let stdout = "Hello from hello\n--mem=1\nb\n--exit=7\n".to_owned();
            assert_eq!(end, End { status: 7, stdout, stderr: String::new() }, "{kind:?}");
        }
        let longest = "x".repeat(8192);
        let end = links.end(name(kind), &[&hello, &longest]);
        let message = format!("{}: Guest command line too long\n", name(kind));
        assert_eq!((end.status, end.stderr), (1, message));
    }
}

#[test]
fn the_version_is_what_supervisors_look_for() {
    let links = Links::new();
    for (link, program) in
        [("solo5-hvt", "solo5-hvt"), ("solo5-spt", "solo5-spt"), ("solo5-spt.2", "solo5-spt")]
    {
        let end = links.end(link, &["--mem=1", "--version", "--nonsense"]);
        assert_eq!((end.status, &*end.stdout), (0, ""));
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!("{program} tender, version vmm-tender {version}\nABI version 2\n");
        assert_eq!(end.stderr, expected);
    }
}

#[test]
fn help_has_status_1_and_comes_with_every_invalid_option() {
    let links = Links::new();
    let help = links.refused(&["--nonsense", "--help"]);
    assert_eq!(help[0], "usage: solo5-spt [ OPTIONS ] [ -- ] KERNEL [ ARGS ]");
    for option in ["--x-exec-heap", "--mem=", "--net:NAME=", "--block-sector-size:NAME="] {
        assert!(help.iter().any(|line| line.contains(option)), "{option}");
    }
    assert_eq!(links.invalid(&[]), ["solo5-spt: Missing KERNEL operand"]);
    let hello = text(&guest("hello", Kind::Spt));
    for option in ["--nonsense", "-q", "--mem", "--net:n", "--net:n-n=tap0", "--net=tap0"] {
        let expected = format!("solo5-spt: Invalid option: `{option}'");
        assert_eq!(links.invalid(&[option, &hello]), [expected]);
    }
    let end = links.end("solo5-hvt", &["--x-exec-heap", &text(&guest("hello", Kind::Hvt))]);
    assert!(end.stderr.starts_with("solo5-hvt: Invalid option: `--x-exec-heap'\nusage: "));
}

#[test]
fn memory_is_a_number_and_what_follows_is_of_no_matter() {
    let links = Links::new();
    let hello = text(&guest("hello", Kind::Spt));
    for good in ["--mem=8", "--mem=8M", "--mem=+8", "--mem= 8"] {
        assert_eq!(links.end("solo5-spt", &[good, &hello]).status, 0, "{good}");
    }
    for bad in ["--mem=", "--mem=0", "--mem=x", "--mem=-1"] {
        let message = "solo5-spt: Malformed argument to --mem";
        assert_eq!(links.refused(&[bad, &hello]), [message], "{bad}");
    }
}

#[test]
fn images_that_are_not_for_it_are_refused() {
    let links = Links::new();
    let hello = text(&guest("hello", Kind::Hvt));
    let expected = format!("solo5-spt: {hello}: Executable is not for the solo5-spt target");
    assert_eq!(links.refused(&[&hello]), [expected]);
    let missing = "solo5-spt: /none: Could not open: No such file or directory (os error 2)";
    assert_eq!(links.refused(&["--nonsense", "/none"]), [missing]);
    let parts = [
        image::load(image::TEXT, image::READ | image::EXECUTE, &[0xC3]),
        image::abi(2, 3),
        image::manifest(&[]),
    ];
    let odd = text(&links.files.with(&image::elf(&parts)));
    let expected = format!("solo5-spt: {odd}: Executable requests unsupported ABI version 3");
    assert_eq!(links.refused(&[&odd]), [expected]);
}

#[test]
fn disks_are_attached_and_their_rules_are_those_of_the_tender_that_it_replaces() {
    let links = Links::new();
    let disk = text(&links.files.with(&vec![0; 65536]));
    for kind in Kind::available() {
        let options =
            ["--block-sector-size:storage=4096", &format!("--block:storage={disk}"), "--mem=8"];
        let image = text(&guest("disk", kind));
        let end = links.end(name(kind), &[&options[..], &[&image]].concat());
        let stdout = "disk: 16 blocks of 4096 bytes\ndisk: 16 blocks verified\n".to_owned();
        assert_eq!(end, End { status: 0, stdout, stderr: String::new() }, "{kind:?}");
    }
    let image = text(&guest("disk", Kind::Spt));
    let all = "solo5-spt: All declared devices must be attached. See --help for syntax.";
    let missing = "solo5-spt: Device 'storage' of type BLOCK_BASIC declared but not attached.";
    assert_eq!(links.refused(&[&image]), [missing, all]);
    assert_eq!(links.refused(&["--block-sector-size:storage=512", &image]), [missing, all]);
    let invalid = |option: &str, why: &str| {
        let said = links.invalid(&[option, &image]);
        let expected = format!("solo5-spt: Invalid option: `{option}'");
        assert_eq!(said, [format!("solo5-spt: {why}"), expected]);
    };
    invalid("--block:other=x", "Resource not declared in manifest: 'other'");
    invalid("--net:storage=tap0", "Resource not declared in manifest: 'storage'");
    for size in ["0", "100", "1000", "65536", "x"] {
        let rule = "Block size must be a multiple of 2 greater than or equal 512";
        invalid(&format!("--block-sector-size:storage={size}"), rule);
    }
    let said = links.refused(&["--block:storage=/none", &image]);
    assert!(said[0].contains("Could not open block device: \"/none\": No such file or directory"));
    assert_eq!(said.len(), 1);
}

#[test]
fn networks_are_attached_with_their_hardware_address() {
    in_network(&tap("tap0", "10.0.0.1/24"), || {
        let links = Links::new();
        let disk = text(&links.files.with(&vec![0; 65536]));
        let block = format!("--block:storage={disk}");
        for kind in Kind::available() {
            let abi = text(&guest("abi", kind));
            let options =
                ["--net-mac:service=02:00:00:00:00:0a", "--net:service=tap0", &block, &abi];
            let end = links.end(name(kind), &options);
            assert_eq!((end.status, &*end.stderr), (0, ""), "{kind:?}");
            let first = end.stdout.lines().next();
            assert_eq!(first, Some("service: mac [02, 00, 00, 00, 00, 0a] mtu 1500"), "{kind:?}");
        }
        let abi = text(&guest("abi", Kind::Spt));
        let said = links.invalid(&["--net:service=none", &block, &abi]);
        let why = "solo5-spt: Could not attach interface: none: No such device (os error 19)";
        assert_eq!(said, [why, "solo5-spt: Invalid option: `--net:service=none'"]);
        let said = links.invalid(&["--net:service=@3", &block, &abi]);
        let why = "solo5-spt: Could not attach interface: @3: it is not open";
        assert_eq!(said, [why, "solo5-spt: Invalid option: `--net:service=@3'"]);
        let said = links.invalid(&["--net-mac:service=1", &block, &abi]);
        assert_eq!(said, ["solo5-spt: Invalid option: `--net-mac:service=1'"]);
    });
}

#[test]
fn a_descriptor_is_for_one_device() {
    let links = Links::new();
    let parts = [
        image::load(image::TEXT, image::READ | image::EXECUTE, &[0xC3]),
        image::abi(2, 2),
        image::manifest(&[("a", 2), ("b", 2)]),
    ];
    let image = text(&links.files.with(&image::elf(&parts)));
    let tender = text(&links.files.path("solo5-spt"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" 3</dev/null", "sh", &tender]);
    let end = End::of(command.args(["--net:a=@3", "--net:b=@3", &image]));
    assert_eq!(end.status, 1);
    let why = "solo5-spt: Could not attach interface: @3: it is attached already\n";
    assert!(end.stderr.starts_with(why), "{}", end.stderr);
}

#[test]
fn the_heap_is_executable_on_request_only() {
    let links = Links::new();
    let crasher = text(&guest("crasher", Kind::Spt));
    assert_eq!(links.end("solo5-spt", &["--mem=8", &crasher, "exec-heap"]).status, 128 + 11);
    let end = links.end("solo5-spt", &["--mem=8", "--x-exec-heap", &crasher, "exec-heap"]);
    assert_eq!((end.status, &*end.stdout), (0, "crasher: still here\n"));
    assert!(end.stderr.starts_with("solo5-spt: WARNING: "), "{}", end.stderr);
}

#[test]
fn sigterm_ends_an_hvt_machine_so_that_it_is_not_restarted() {
    if !kvm() {
        return;
    }
    let links = Links::new();
    let ticker = text(&guest("ticker", Kind::Hvt));
    let machine = Running::after(&mut links.command("solo5-hvt", &["--mem=8", &ticker]), 7);
    assert_eq!(machine.signal("TERM"), (1, "solo5-hvt: Exiting on signal 15\n".to_owned()));
    let end = links.end("solo5-hvt", &["--mem=3", &text(&guest("hello", Kind::Hvt))]);
    assert_eq!((end.status, &*end.stderr), (0, "solo5-hvt: adjusting memory to 2097152 bytes\n"));
}

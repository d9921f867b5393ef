//! Images that are refused, each with its reason, before anything of them runs.

use std::path::Path;

use crate::support::image::{self, EXECUTE, Files, READ, TEXT, WRITE, load};
use crate::support::{End, Kind, guest, tender};

/// `exit_group(7)`: xor eax, eax; mov al, 231; mov edi, 7; syscall.
pub(crate) const EXIT_WITH_7: [u8; 11] = [0x31, 0xC0, 0xB0, 0xE7, 0xBF, 7, 0, 0, 0, 0x0F, 0x05];

fn inspect(path: &Path) -> End {
    End::of(tender(["inspect", "--format", "json"]).arg(path))
}

pub(crate) fn run(path: &Path) -> End {
    End::of(tender(["run", "--mem", "4"]).arg(path))
}

/// Both `run` and `inspect` refuse these bytes for the same reason.
pub(crate) fn assert_refused(bytes: &[u8], reason: &str) {
    let files = Files::new();
    let path = files.with(bytes);
    let inspected = inspect(&path);
    let expected = (1, "", format!("vmm-tender: not a valid image: {reason}\n"));
    assert_eq!((inspected.status, &*inspected.stdout, inspected.stderr.clone()), expected);
    assert_eq!(run(&path), inspected);
}

#[test]
fn an_image_made_by_hand_runs() {
    let files = Files::new();
    let path = files.with(&image::spt(&EXIT_WITH_7, &[]));
    assert_eq!(run(&path), End { status: 7, stdout: String::new(), stderr: String::new() });
}

#[test]
fn files_that_are_no_elf_are_refused() {
    assert_refused(b"", "truncated: the file ends inside the ELF header");
    let script = "#!/bin/sh\n".repeat(10);
    assert_refused(script.as_bytes(), "not an ELF file (it begins with [23, 21, 2f, 62])");
}

#[test]
fn a_program_of_the_host_is_refused() {
    let shell = std::fs::read("/bin/sh").unwrap();
    assert_refused(&shell, "not a static executable (ELF type 3, not 2)");
}

#[test]
fn another_machine_type_is_refused() {
    let mut bytes = image::spt(&EXIT_WITH_7, &[]);
    bytes[18] = 183;
    assert_refused(&bytes, "not for x86-64 (ELF machine 183, not 62)");
}

#[test]
fn a_truncated_image_is_refused_wherever_it_ends() {
    let files = Files::new();
    let whole = std::fs::read(guest("hello", Kind::Spt)).unwrap();
    let report = inspect(&files.with(&whole)).stdout;
    let end = whole.len();
    // Every byte of the headers, and around each page of the rest.
    let pages = (0..end).step_by(4096).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    let mut refused = 0;
    for len in (0..600).step_by(7).chain(pages).filter(|&len| len < end) {
        let result = inspect(&files.with(&whole[..len]));
        // What follows the last segment is not needed: section names and the like.
        if result.status == 0 {
            assert_eq!(result.stdout, report, "{len} of {end} bytes");
            continue;
        }
        refused += 1;
        assert!(result.stderr.contains("truncated"), "{len} of {end} bytes: {}", result.stderr);
        assert_eq!(run(&files.with(&whole[..len])), result);
    }
    assert!(refused > 90, "{refused}");
}

#[test]
fn overlapping_segments_are_refused() {
    let second = load(TEXT + 0x800, READ | WRITE, &[0; 16]);
    assert_refused(
        &image::spt(&EXIT_WITH_7, &[second]),
        "segment 1 begins at 0x100000 and overlaps the segment before it, which ends at 0x101000",
    );
}

#[test]
fn a_writable_and_executable_segment_is_refused() {
    let second = load(TEXT + 0x1000, READ | WRITE | EXECUTE, &[0; 16]);
    let reason = "segment 1 is both writable and executable";
    assert_refused(&image::spt(&EXIT_WITH_7, &[second]), reason);
}

#[test]
fn segments_that_are_no_whole_pages_are_refused() {
    let mut second = load(TEXT + 0x1800, READ | WRITE, &[0; 16]);
    second.align = 16;
    let reason =
        "segment 1 covers [0x101800,0x101810), which does not begin and end at multiples of 4096";
    assert_refused(&image::spt(&EXIT_WITH_7, &[second.clone()]), reason);
    for align in [0, 3, 4097] {
        second.align = align;
        let reason = format!("segment 1 has alignment {align:#x}, which is not a power of two");
        assert_refused(&image::spt(&EXIT_WITH_7, &[second.clone()]), &reason);
    }
}

#[test]
fn segments_below_1_mib_or_out_of_order_are_refused() {
    let low = load(0xF_F000, READ | WRITE, &[0; 16]);
    let reason = "segment 1 begins at 0xff000, below 0x100000";
    assert_refused(&image::spt(&EXIT_WITH_7, &[low]), reason);
    let order = [load(0x20_0000, READ, &[0; 16]), load(0x18_0000, READ, &[0; 16])];
    let reason = "segment 2 begins at 0x180000, below the segment before it";
    assert_refused(&image::spt(&EXIT_WITH_7, &order), reason);
}

#[test]
fn an_entry_point_outside_of_text_is_refused() {
    let data = load(TEXT + 0x1000, READ | WRITE, &[0; 16]);
    let with_entry = |entry: u64| {
        let mut bytes = image::spt(&EXIT_WITH_7, std::slice::from_ref(&data));
        bytes[24..32].copy_from_slice(&entry.to_le_bytes());
        bytes
    };
    for entry in [TEXT + 0x1000, TEXT + 0x2000, 0x1000_0000, u64::MAX] {
        let reason = format!("entry point {entry:#x} is in no executable segment");
        assert_refused(&with_entry(entry), &reason);
    }
    assert_refused(&with_entry(0xF_FFFF), "entry point 0xfffff is below 0x100000");
}

#[test]
fn absurd_sizes_are_refused() {
    let mut second = load(TEXT + 0x1000, READ | WRITE, &[0; 16]);
    second.memory_size = u64::MAX - 0x1000;
    let reason = "segment 1 ends past the 64-bit address space";
    assert_refused(&image::spt(&EXIT_WITH_7, &[second]), reason);
}

#[test]
fn sizes_and_offsets_are_read_with_all_their_64_bits() {
    // The second program header's field number `field`, with a bit above the lower 32.
    let with_high_bit = |field: usize| {
        let second = load(TEXT + 0x1000, READ | WRITE, &[0; 16]);
        let mut bytes = image::spt(&EXIT_WITH_7, &[second]);
        bytes[64 + 56 + 8 * field + 4] = 1;
        bytes
    };
    let size = with_high_bit(0).len();
    let (offset, address, file_size, memory_size) = (1, 2, 4, 5);
    let end = (1u64 << 32) + 64 + 4 * 56 + EXIT_WITH_7.len() as u64 + 16;
    let past =
        |end| format!("segment 1 is truncated: its bytes end at {end} of a file of {size} bytes");
    assert_refused(&with_high_bit(offset), &past(end));
    let reason = "segment 1 takes 4294967312 bytes from the file but has 16 in memory";
    assert_refused(&with_high_bit(file_size), reason);
    let mut both = with_high_bit(file_size);
    both[64 + 56 + 8 * memory_size + 4] = 1;
    assert_refused(&both, &past(end));
    // These are valid as such, and do not fit.
    for field in [address, memory_size] {
        let files = Files::new();
        let path = files.with(&with_high_bit(field));
        assert_eq!(inspect(&path).status, 0);
        let end = run(&path);
        let message = "vmm-tender: the image does not fit: segment 1 ends at 0x100102000, past the guest's 0x400000 bytes of memory\n";
        assert_eq!((end.status, &*end.stderr), (1, message));
    }
    // The program headers themselves.
    let mut headers = image::spt(&EXIT_WITH_7, &[]);
    headers[36] = 1;
    assert_refused(&headers, "truncated: the file ends inside the program headers");
}

#[test]
fn a_segment_past_guest_memory_is_refused_when_it_is_run() {
    let files = Files::new();
    let mut second = load(0x40_0000, READ | WRITE, &[0; 16]);
    second.memory_size = 0x10_0000_0000;
    let path = files.with(&image::spt(&EXIT_WITH_7, &[second]));
    assert_eq!(inspect(&path).status, 0);
    let end = run(&path);
    let message = "vmm-tender: the image does not fit: segment 1 ends at 0x1000400000, past the guest's 0x400000 bytes of memory\n";
    assert_eq!((end.status, &*end.stderr), (1, message));
}

#[test]
fn images_for_others_are_valid_but_not_run() {
    let refused = |target, version, devices: &[(&str, u32)]| {
        let files = Files::new();
        let parts = [
            load(TEXT, READ | EXECUTE, &EXIT_WITH_7),
            image::abi(target, version),
            image::manifest(devices),
        ];
        let path = files.with(&image::elf(&parts));
        let report = inspect(&path);
        assert_eq!((report.status, &*report.stderr), (0, ""));
        let end = run(&path);
        assert_eq!((end.status, &*end.stdout), (1, ""));
        let why = end.stderr.strip_prefix("vmm-tender: cannot run this image: ").unwrap();
        let why = why.trim_end().to_owned();
        assert!(report.stdout.contains("\"runnable\":false"), "{}", report.stdout);
        assert!(report.stdout.contains(&why), "{} has no {why}", report.stdout);
        why
    };
    assert_eq!(refused(4, 2, &[]), "it is for the target muen, and only hvt and spt are run here");
    assert_eq!(refused(6, 1, &[]), "it is for the target xen, and only hvt and spt are run here");
    assert_eq!(
        refused(1, 3, &[]),
        "it is for version 3 of the hvt ABI, and only 1 and 2 are known"
    );
}

#[test]
fn images_with_devices_are_not_run_without_them() {
    let files = Files::new();
    let parts = [
        load(TEXT, READ | EXECUTE, &EXIT_WITH_7),
        image::abi(2, 2),
        image::manifest(&[("storage", 1), ("service", 2)]),
    ];
    let path = files.with(&image::elf(&parts));
    let report = inspect(&path);
    let devices = concat!(
        r#""devices":[{"name":"storage","type":"block"},{"name":"service","type":"net"}],"#,
        r#""runnable":true,"why_not":null"#
    );
    assert!(report.status == 0 && report.stdout.contains(devices), "{report:?}");
    let message = "vmm-tender: Device 'storage' of type BLOCK_BASIC declared but not attached. Device 'service' of type NET_BASIC declared but not attached. All declared devices must be attached\n";
    let end = run(&path);
    assert_eq!((end.status, &*end.stderr), (1, message));
}

#[test]
fn an_image_that_is_no_file_is_refused() {
    let end = run(Path::new("/"));
    assert_eq!((end.status, &*end.stderr), (1, "vmm-tender: the image is not a regular file\n"));
    let files = Files::new();
    let missing = files.path("none");
    let expected =
        format!("vmm-tender: cannot open {missing:?}: No such file or directory (os error 2)\n");
    assert_eq!(run(&missing).stderr, expected);
}

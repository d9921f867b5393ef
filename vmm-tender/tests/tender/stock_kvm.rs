//! Nearly all of these tests once more, in an emulated PC, on the kernel of a distribution.
//!
//! Where tests run in a virtual machine, its KVM may be one that emulates its guests, instruction
//! by instruction. What users have is the one of their processor. The emulated processor is an
//! AMD one, whose virtualization QEMU knows, with nested page tables.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vmm_emulated::{Emulated, Files, Job};

use crate::support;

/// Set in the machine: nothing can be built there, and nothing may be skipped.
pub(crate) const STOCK_KVM: &str = "VMM_STOCK_KVM";

/// How the names of those tests begin that are not run there: these, those that only look at files,
/// which is the same everywhere, and one that wants Python.
const NOT_THERE: [&str; 3] =
    ["stock_kvm::", "images::", "cores::a_failed_hvt_guest_leaves_a_core_file_on_request"];

/// What the tests run besides the tender.
const PROGRAMS: [&str; 10] =
    ["cat", "head", "ip", "kill", "ln", "mount", "sh", "truncate", "uname", "unshare"];

/// Some tests wait for most of their time.
const THREADS: &str = "--test-threads=4";

/// Long enough for a machine with much else to do; usually it takes a minute and a half.
const LIMIT: Duration = Duration::from_mins(15);

#[test]
fn all_of_this_holds_on_the_kvm_of_a_stock_kernel() {
    let Some(machine) = Emulated::for_test(support::root(), "the KVM of a stock kernel") else {
        return;
    };
    // As much as the largest guest may have; none of them touches much of it.
    let machine = machine.modules(&["kvm-amd", "tun"]).memory(6144);
    let jobs = [
        Job::script(
            "uname -rv; cd /sys/module/kvm_amd/parameters; \
             for name in *; do echo \"kvm_amd $name $(cat $name)\"; done",
        ),
        Job::new("tests", NOT_THERE.iter().flat_map(|name| ["--skip", name]).chain([THREADS]))
            .with("CI", "true")
            .with(STOCK_KVM, "1"),
    ];
    let ends = machine.boot(&files(), &jobs, LIMIT).unwrap();
    let [kvm, tests] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!((kvm.status, &*kvm.stderr), (0, ""), "{kvm:?}");
    assert!(kvm.stdout.contains("kvm_amd npt Y\n"), "nested page tables: {}", kvm.stdout);
    assert_eq!(tests.status, 0, "on {}\n{}\n{}", kvm.stdout, tests.stdout, tests.stderr);
    let result = format!("test result: ok. {} passed; 0 failed; 0 ignored;", how_many());
    assert!(tests.stdout.contains(&result), "{result} is expected: {}", tests.stdout);
    report(&kvm.stdout, &result, tests.took);
}

fn files() -> Files {
    let mut files = Files::new();
    for program in PROGRAMS {
        files.program(program).unwrap();
    }
    files.program(env!("CARGO_BIN_EXE_vmm-tender")).unwrap();
    let itself = std::env::current_exe().unwrap();
    files.program_at(&itself, Path::new("/bin/tests")).unwrap();
    let built = support::guest("hello", support::Kind::Hvt);
    for entry in built.parent().unwrap().read_dir().unwrap() {
        let guest = entry.unwrap().path();
        files.add(&guest, &guest).unwrap();
    }
    files
}

/// How many tests there are to be run there.
fn how_many() -> usize {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--list").args(NOT_THERE.iter().flat_map(|name| ["--skip", name]));
    let list = command.output().unwrap();
    String::from_utf8(list.stdout).unwrap().lines().filter(|line| line.ends_with(": test")).count()
}

/// Written past the capture of a test's output: who reads the protocol wants to know.
fn report(kvm: &str, result: &str, took: Duration) {
    let text = format!("{kvm}{result} after {took:.0?}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

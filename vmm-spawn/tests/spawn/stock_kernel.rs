//! The tests of the jail and of networks once more, in an emulated PC on the kernel of a distribution:
//! with cgroups of version 2, and with the rules and interfaces that users have, whatever there are
//! here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use vmm_emulated::{Emulated, End, Files, Job};

use crate::jail::{HOSTILE, hostile};

/// Long enough for a machine with much else to do; usually it takes half a minute.
const LIMIT: Duration = Duration::from_mins(10);

const THERE: &str = "/bin/hostile";

/// As a service manager starts it: in a cgroup that is handed to it.
const SERVICE: &str = r#"
service=/sys/fs/cgroup/service
mkdir $service
(echo 0 > $service/cgroup.procs; exec "$SPAWN" --dir /run/service --tender /bin/hostile) 2> /tmp/log &
until grep -q 'listening on' /tmp/log; do sleep 0.1; done
echo "it is in $(cat /proc/$!/cgroup)"
for dir in $service/vmm@*; do echo "$(cat $dir/cgroup.controllers)"; done
kill $!
wait $!
echo "it ends with $?"
for dir in $service/*/; do [ ! -d "$dir" ] || echo "left: $dir"; done

(echo 0 > $service/cgroup.procs; exec sleep 1000) &
other=$!
(echo 0 > $service/cgroup.procs
exec "$SPAWN" --dir /run/service --tender /bin/hostile --require-jail) 2>&1
echo "beside another it ends with $?"
kill $other
"#;

#[test]
fn all_of_the_jail_holds_on_a_stock_kernel_with_cgroups_of_version_2() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let Some(machine) = Emulated::for_test(root, "cgroups of version 2") else { return };
    let spawn = env!("CARGO_BIN_EXE_vmm-spawn");
    let jobs = [
        Job::new("tests", ["jail::", "--test-threads=2"]).with("CI", "true").with(HOSTILE, THERE),
        Job::script(SERVICE).with("SPAWN", spawn),
    ];
    let ends = machine.cpus(2).boot(&files(spawn), &jobs, LIMIT).unwrap();
    let [tests, service] = ends.as_slice() else { panic!("{ends:?}") };
    all_passed(tests);
    let said = &service.stdout;
    for expected in [
        "it is in 0::/service/vmm-spawn@-run-service\n",
        "memory pids\n",
        "it ends with 0\n",
        "other processes are in the cgroup \"/sys/fs/cgroup/service\" beside vmm-spawn",
        "beside another it ends with 1\n",
    ] {
        assert!(said.contains(expected), "{expected} is expected: {said}{}", service.stderr);
    }
    assert!(!said.contains("left: "), "{said}");
}

/// Modules of what the tests of networks make, which a kernel with its modules beside it loads by itself.
const NETWORK_MODULES: [&str; 13] = [
    "tun",
    "bridge",
    "br_netfilter",
    "veth",
    "dummy",
    "nf_tables",
    "nft_meta_bridge",
    "nft_limit",
    "nft_ct",
    "nft_connlimit",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
];

#[test]
fn networks_are_made_and_filtered_on_a_stock_kernel() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let Some(machine) = Emulated::for_test(root, "networks on a stock kernel") else { return };
    let mut files = files(env!("CARGO_BIN_EXE_vmm-spawn"));
    files.program_at(&unit_tests(root), Path::new("/bin/unit-tests")).unwrap();
    for program in ["ip", "cp", "unshare", "nsenter", "nft", "/usr/sbin/nft"] {
        files.program(program).unwrap();
    }
    // Not what takes an emulated PC its time: the model, each change that is noticed, and very many
    // taps say little about a kernel that takes the rules and stops the lies.
    let tests = [
        "net::filter::tests::what_a_guest",
        "net::filter::tests::to_guest",
        "net::filter::tests::limits",
        "net::tap",
        "net::watch::tests::filters",
        "net::host::tests::machines",
        "--skip=five_hundred_taps",
    ];
    let jobs = [Job::new("unit-tests", tests).with("CI", "true")];
    let machine = machine.cpus(2).modules(&NETWORK_MODULES);
    all_passed(&machine.boot(&files, &jobs, LIMIT).unwrap()[0]);
}

fn all_passed(tests: &End) {
    assert_eq!(tests.status, 0, "{}\n{}", tests.stdout, tests.stderr);
    assert!(tests.stdout.contains("test result: ok. "), "{}", tests.stdout);
    assert!(!tests.stdout.contains(" 0 passed"), "{}", tests.stdout);
    // Written past the capture of a test's output: who reads the protocol wants to know.
    let result = tests.stdout.lines().find(|line| line.starts_with("test result")).unwrap();
    let mut errors = std::io::stderr();
    writeln!(errors, "{result}, after {:.0?}", tests.took).unwrap();
}

/// The program with the tests of this crate's own modules. With the whole workspace, as otherwise
/// what it is made of would be built with other features, once more.
fn unit_tests(root: &Path) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["test", "--workspace", "--lib", "--no-run", "--locked"]);
    let output = cargo.arg("--message-format=json").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "cargo cannot build the tests of the library");
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut programs = messages.filter_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).unwrap();
        let program = message["executable"].as_str().map(PathBuf::from);
        program.filter(|_| message["target"]["name"] == "vmm_spawn")
    });
    programs.next().unwrap()
}

fn files(spawn: &str) -> Files {
    let mut files = Files::new();
    for program in ["cat", "grep", "mkdir", "sh", "sleep"] {
        files.program(program).unwrap();
    }
    files.program(spawn).unwrap();
    files.program_at(hostile(), Path::new(THERE)).unwrap();
    let itself = std::env::current_exe().unwrap();
    files.program_at(&itself, Path::new("/bin/tests")).unwrap();
    files
}

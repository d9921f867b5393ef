//! The tests of the jail once more, in an emulated PC on the kernel of a distribution: with cgroups
//! of version 2, as users have them, whatever there are here.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use vmm_emulated::{Emulated, Files, Job};

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
    assert_eq!(tests.status, 0, "{}\n{}", tests.stdout, tests.stderr);
    assert!(tests.stdout.contains("test result: ok. "), "{}", tests.stdout);
    assert!(!tests.stdout.contains(" 0 passed"), "{}", tests.stdout);
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
    // Written past the capture of a test's output: who reads the protocol wants to know.
    let result = tests.stdout.lines().find(|line| line.starts_with("test result")).unwrap();
    writeln!(std::io::stderr(), "{result}, after {:.0?}", tests.took).unwrap();
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

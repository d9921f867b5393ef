//! What `--help` prints.

use crate::program::Program;

/// For `program`, one of the two.
pub(super) fn text(program: Program) -> String {
    let name = program.name();
    let exec_heap = if program == Program::Solo5Spt {
        "  [ --x-exec-heap ] (make heap and stack executable; not recommended)\n"
    } else {
        ""
    };
    format!(
        "\
usage: {name} [ OPTIONS ] [ -- ] KERNEL [ ARGS ]
KERNEL is the unikernel to run, ARGS are passed to it.
Options:
  [ --mem=512 ] (guest memory in MB)
    --net:NAME=IFACE | @NN (attach the tap IFACE, or the tap at fd NN, as network NAME)
  [ --net-mac:NAME=HWADDR ] (hardware address of network NAME)
    --block:NAME=PATH (attach the file or device PATH as block device NAME)
  [ --block-sector-size:NAME=N ] (its block size, a power of two, at least 512)
{exec_heap}    --help (display this help)
    --version (display version information)
This is vmm-tender in the place of {name}.
"
    )
}

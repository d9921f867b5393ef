//! What `--help` prints.

use crate::program::Program;

/// For `program`, one of the three.
pub(super) fn text(program: Program) -> String {
    let name = program.name();
    let own = match program {
        Program::Solo5Spt => {
            "  [ --x-exec-heap ] (make heap and stack executable; not recommended)\n"
        }
        Program::Solo5HvtDebug => {
            "  [ --dumpcore=DIR ] (leave a core file of a guest that aborts or faults in DIR)\n"
        }
        Program::VmmTender | Program::Solo5Hvt => "",
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
{own}    --help (display this help)
    --version (display version information)
This is vmm-tender in the place of {name}.
"
    )
}

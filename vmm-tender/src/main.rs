//! See the library: a tender is started once for one machine, and its exit status is the
//! machine's.

fn main() {
    let status = vmm_tender::main(std::env::args_os());
    // Not by returning: that would first give back memory that the exit gives back anyway, with
    // system calls that a running machine's filter does not permit.
    std::process::exit(status.into())
}

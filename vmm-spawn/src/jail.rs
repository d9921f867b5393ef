//! What confines a machine, and what does not.
//!
//! One place to ask, so that the log, the welcome and what is applied cannot differ.

/// What of the jail is not applied to machines on this host, in words.
///
/// Applied to every machine: its CPUs (`sched_setaffinity`; it may undo that itself, as nothing
/// confines it to them), a session of its own, an empty environment, `/` as its directory, and no
/// descriptors but its own. What the tender does to itself, such as its system call filter, is
/// not listed here.
pub fn missing() -> Vec<String> {
    [
        "no user id of its own: machines run as the user of vmm-spawn",
        "no capabilities are dropped and no_new_privs is not set by vmm-spawn",
        "no cgroup: memory, CPU share and process limits are not enforced, \
         running out of memory shows as signal 9",
        "no namespaces: mounts, network, processes and IPC of the host are in sight",
        "no resource limits",
    ]
    .map(str::to_owned)
    .into()
}

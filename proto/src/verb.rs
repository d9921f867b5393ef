//! The one table of verbs: what each needs. The check, the client's help and the documentation
//! come from here.

use std::fmt;

use crate::permission::Permission;

/// Something that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Deploy a machine: the leaf's own, or one described in the request.
    Deploy,
    /// With `Deploy`: take the place of a live machine.
    Replace,
    /// List and look at machines.
    Info,
    /// Look at quotas.
    Quota,
    /// Read a console.
    Attach,
    /// End one's own attachments.
    Detach,
    /// Read resource use.
    Statistics,
    /// Read the event log.
    Log,
    /// Start a machine that is not running.
    Start,
    /// Stop a machine.
    Stop,
    /// Stop and start a machine.
    Restart,
    /// Stop a machine and forget it.
    Destroy,
    /// Hand in a revocation list.
    Revoke,
    /// Ask why something would be refused.
    Why,
    /// Take no new machines on this host, or take them again; its networks. For whoever speaks for
    /// the host.
    Host,
}

/// One row of the table: the verb, its name, the permission it needs, whether a machine's own leaf
/// may do it (to that machine only), and what it does.
type Row = (Verb, &'static str, Permission, bool, &'static str);

const TABLE: [Row; 15] = [
    (Verb::Deploy, "deploy", Permission::Create, true, "Deploy a machine"),
    (Verb::Replace, "replace", Permission::Replace, false, "Take the place of a live machine"),
    (Verb::Info, "info", Permission::Info, true, "List and look at machines"),
    (Verb::Quota, "quota", Permission::Info, false, "Show limits and what is used of them"),
    (Verb::Attach, "attach", Permission::Console, true, "Read a console"),
    (Verb::Detach, "detach", Permission::Console, false, "End one's other attachments"),
    (Verb::Statistics, "statistics", Permission::Statistics, false, "Show what machines use"),
    (Verb::Log, "log", Permission::Log, false, "Read the event log"),
    (Verb::Start, "start", Permission::Power, false, "Start a machine that is not running"),
    (Verb::Stop, "stop", Permission::Power, false, "Stop a machine"),
    (Verb::Restart, "restart", Permission::Power, false, "Stop and start a machine"),
    (Verb::Destroy, "destroy", Permission::Destroy, false, "Stop a machine and forget it"),
    (Verb::Revoke, "revoke", Permission::Revoke, false, "Hand in a revocation list"),
    (Verb::Why, "why", Permission::Info, true, "Ask why something would be refused"),
    (
        Verb::Host,
        "host",
        Permission::All,
        false,
        "Drain the host, open it again, or change its networks",
    ),
];

impl Verb {
    /// Every verb.
    pub const EACH: [Verb; TABLE.len()] = {
        let mut each = [Verb::Deploy; TABLE.len()];
        let mut index = 0;
        while index < each.len() {
            // `self.row()` finds a verb's row by its place.
            assert!(TABLE[index].0 as usize == index);
            each[index] = TABLE[index].0;
            index += 1;
        }
        each
    };

    const fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The permission it needs.
    pub const fn permission(self) -> Permission {
        self.row().2
    }

    /// Whether a machine's own leaf may do it, to that machine only.
    pub const fn of_machine_leaf(self) -> bool {
        self.row().3
    }

    /// What it does, in a few words.
    pub const fn about(self) -> &'static str {
        self.row().4
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

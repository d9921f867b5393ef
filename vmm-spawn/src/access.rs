//! Who may connect, as whom.

use nix::unistd::{Group, User};
use rustix::process::geteuid;
use vmm_proto::message::spawn::Role;

/// The users that the daemons run as which this one answers, beside root and its own user.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// That of `vmmd`.
    pub supervisor: Option<u32>,
    /// That of `vmm-console`.
    pub console: Option<u32>,
}

impl Access {
    /// Whether this user may connect at all.
    pub fn allows(&self, uid: u32) -> bool {
        [Role::Supervisor, Role::Console].into_iter().any(|role| self.allows_as(role, uid))
    }

    /// Whether this user may be in this role.
    pub fn allows_as(&self, role: Role, uid: u32) -> bool {
        let named = match role {
            Role::Supervisor => self.supervisor,
            Role::Console => self.console,
        };
        uid == 0 || uid == geteuid().as_raw() || named == Some(uid)
    }
}

/// The number of a user, given by name or number.
///
/// # Errors
/// In words, when there is no such user.
pub fn user(text: &str) -> Result<u32, String> {
    match number(text) {
        Some(number) => Ok(number),
        None => known("user", text, User::from_name(text).map(|user| Some(user?.uid.as_raw()))),
    }
}

/// The number of a group, given by name or number.
///
/// # Errors
/// In words, when there is no such group.
pub fn group(text: &str) -> Result<u32, String> {
    match number(text) {
        Some(number) => Ok(number),
        None => known("group", text, Group::from_name(text).map(|group| Some(group?.gid.as_raw()))),
    }
}

/// A number that stands for itself. The largest stands for nobody.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

fn known(kind: &str, name: &str, found: nix::Result<Option<u32>>) -> Result<u32, String> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("there is no {kind} {name:?} on this host")),
        Err(error) => Err(format!("the {kind} {name:?} cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_has_its_own_role_and_root_any() {
        let access = Access { supervisor: Some(64001), console: Some(64002) };
        assert!(access.allows_as(Role::Supervisor, 64001));
        assert!(!access.allows_as(Role::Supervisor, 64002));
        assert!(access.allows_as(Role::Console, 64002));
        assert!(!access.allows_as(Role::Console, 64001));
        assert!(access.allows(64001) && access.allows(64002) && !access.allows(64003));
        assert!(access.allows_as(Role::Console, 0) && Access::default().allows(0));
        assert!(!Access::default().allows(64001) || geteuid().as_raw() == 64001);
    }

    #[test]
    fn a_user_is_a_number_or_one_that_the_host_knows() {
        assert_eq!(user("root"), Ok(0));
        assert_eq!(user("64001"), Ok(64001));
        assert_eq!(group("root"), Ok(0));
        for bad in ["", "4294967295", "-1", "no-such-user-here"] {
            assert!(user(bad).is_err() && group(bad).is_err(), "{bad}");
        }
    }
}

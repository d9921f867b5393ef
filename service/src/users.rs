//! Users and groups on the command line, by name or number.

use nix::unistd::{Group, User};

/// The number of a user.
///
/// # Errors
/// In words, when there is no such user.
pub fn user(text: &str) -> Result<u32, String> {
    number(text)
        .map_or_else(|| known("user", text, User::from_name(text), |user| user.uid.as_raw()), Ok)
}

/// The number of a group.
///
/// # Errors
/// In words, when there is no such group.
pub fn group(text: &str) -> Result<u32, String> {
    number(text).map_or_else(
        || known("group", text, Group::from_name(text), |group| group.gid.as_raw()),
        Ok,
    )
}

/// A number that stands for itself. The largest stands for nobody.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

fn known<T>(
    kind: &str,
    name: &str,
    found: nix::Result<Option<T>>,
    id: impl FnOnce(T) -> u32,
) -> Result<u32, String> {
    match found {
        Ok(Some(found)) => Ok(id(found)),
        Ok(None) => Err(format!("there is no {kind} {name:?} on this host")),
        Err(error) => Err(format!("the {kind} {name:?} cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_one_that_the_host_knows() {
        assert_eq!(user("0"), Ok(0));
        assert_eq!(user("root"), Ok(0));
        assert_eq!(user("64001"), Ok(64001));
        assert_eq!(group("root"), Ok(0));
        for bad in ["", "4294967295", "-1", "no-such-user-here"] {
            assert!(user(bad).is_err() && group(bad).is_err(), "{bad}");
        }
    }
}

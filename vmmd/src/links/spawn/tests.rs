//! Tests of what is told.

use super::*;

#[test]
fn a_jail_of_which_nobody_knows_is_not_one_in_which_nothing_is_missing() {
    let (core, _inbox) = crate::core::new();
    let (link, _out) = SpawnLink::new(core, Vec::new());
    assert_eq!(link.jail_shown(), [JAIL_UNKNOWN]);
    link.set_jail(Some(Vec::new()));
    assert!(link.jail_shown().is_empty());
}

#[test]
fn what_cannot_be_told_ends_the_connection_unless_it_is_answered_or_told_again_anyway() {
    let (core, _inbox) = crate::core::new();
    let (link, mut out) = SpawnLink::new(core, Vec::new());
    let mut lost = link.lost.subscribe();
    let (id, wanted) =
        (MachineId([1; 16]), || ToSpawn::HostNetworks { number: 1, networks: Vec::new() });
    link.tell(wanted(), None);
    assert_eq!(told(&mut out), [], "there is no connection");
    link.set_jail(Some(Vec::new()));
    for _ in 0..QUEUE {
        link.tell(ToSpawn::Ping, None);
    }
    link.tell(ToSpawn::EndSeen { id, run: 1 }, None);
    assert!(!lost.has_changed().unwrap());
    link.tell(wanted(), None);
    assert!(lost.has_changed().unwrap());
    lost.mark_unchanged();
    link.tell(ToSpawn::Forget { id }, None);
    assert!(lost.has_changed().unwrap());
}

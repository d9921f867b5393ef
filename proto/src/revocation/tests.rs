use super::*;
use crate::authority::{Holder, LeafIdentity, Validity};
use crate::permission::{Permission, Permissions};
use crate::resource::{Bridges, Delegation};

fn list(path: &str, key: u8, number: u64, serials: usize) -> Arc<RevocationList> {
    let octets: Vec<[u8; 8]> = (1..=serials as u64).map(u64::to_be_bytes).collect();
    let serials = octets.iter().map(|octets| Ok::<_, BadSerial>(octets.as_slice()));
    Arc::new(RevocationList {
        issuer: Digest([key; 32]),
        path: Path::parse(path).unwrap(),
        number: CrlNumber::from(number),
        this_update: 0,
        next_update: 1,
        sha256: Digest([u8::try_from(serials.len() % 251).unwrap(); 32]),
        serials: Serials::collect(serials).unwrap(),
    })
}

fn serial(number: u64) -> Serial {
    Serial(number.to_be_bytes().into())
}

fn link(label: &str, issuer: u8, key: u8, serial: Serial) -> Link {
    let grant = Delegation {
        generation: 1,
        machines: 1,
        memory_mib: 1,
        cpus: std::iter::once(0).collect(),
        storage_mib: 0,
        bridges: Bridges::default(),
        hosts: None,
    };
    Link {
        label: Label::parse(label).unwrap(),
        issuer: Digest([issuer; 32]),
        key: Digest([key; 32]),
        serial,
        grant,
        validity: Validity::ALWAYS,
    }
}

#[test]
fn a_list_takes_back_its_own_issuers_certificates_and_nobody_elses() {
    let mut revocations = Revocations::default();
    let taken = revocations.take(list("dev", 1, 1, 3)).unwrap();
    assert_eq!(taken, Taken { replaced: None, serials: 3 });
    assert!(revocations.holds(&Digest([1; 32]), &serial(3)));
    assert!(!revocations.holds(&Digest([1; 32]), &serial(4)));
    assert!(!revocations.holds(&Digest([2; 32]), &serial(3)));
}

#[test]
fn the_outermost_certificate_that_was_taken_back_is_named_and_the_leaf_is_looked_at_too() {
    let of = |dev: u64, alice: u64, leaf: u64| {
        let links = vec![link("dev", 0, 1, serial(dev)), link("alice", 1, 2, serial(alice))];
        let leaf = LeafIdentity {
            label: Label::parse("admin").unwrap(),
            issuer: Digest([2; 32]),
            serial: serial(leaf),
        };
        let holder = Holder::Permissions(Permissions::of([Permission::All]));
        Authorization::leaf(links, leaf, holder, Validity::ALWAYS).unwrap()
    };
    let mut revocations = Revocations::default();
    let name = |revocations: &Revocations, of: &Authorization| {
        revocations.of(of).map(|revoked| revoked.label.to_string())
    };
    assert_eq!(name(&revocations, &of(1, 1, 1)), None);
    let _ = revocations.take(list("dev/alice", 2, 1, 1)).unwrap();
    assert_eq!(name(&revocations, &of(1, 1, 1)).as_deref(), Some("admin"));
    assert_eq!(name(&revocations, &of(1, 1, 2)), None);
    let _ = revocations.take(list("dev", 1, 1, 1)).unwrap();
    assert_eq!(name(&revocations, &of(1, 1, 1)).as_deref(), Some("alice"));
    assert_eq!(revocations.of(&Authorization::admin()), None);
}

#[test]
fn a_newer_list_takes_the_place_of_the_last_one_and_an_older_one_does_not() {
    let mut revocations = Revocations::default();
    let _ = revocations.take(list("dev", 1, 5, 3)).unwrap();
    let path = Path::parse("dev").unwrap();
    let known = NotTaken::Known { number: 5.into(), path: path.clone() };
    assert_eq!(revocations.take(list("dev", 1, 5, 3)), Err(known));
    let stale = |given: u64| {
        Err(NotTaken::NotNewer { path: path.clone(), known: 5.into(), given: given.into() })
    };
    assert_eq!(revocations.take(list("dev", 1, 5, 4)), stale(5));
    assert_eq!(revocations.take(list("dev", 1, 4, 9)), stale(4));
    assert!(revocations.holds(&Digest([1; 32]), &serial(3)));
    let taken = revocations.take(list("dev", 1, 6, 1)).unwrap();
    assert_eq!(taken, Taken { replaced: Some(5.into()), serials: 1 });
    assert!(!revocations.holds(&Digest([1; 32]), &serial(3)));
}

#[test]
fn what_is_below_a_delegation_shares_its_room_and_never_takes_that_of_the_delegation_itself() {
    let mut revocations = Revocations::default();
    let _ = revocations.take(list("dev/a", 1, 1, MAX_SERIALS)).unwrap();
    let full = revocations.take(list("dev/b", 2, 1, 0));
    let room = room_below(1);
    let at = Path::parse("dev").unwrap();
    assert_eq!(full, Err(NotTaken::NoRoom { at, room, needed: room + LIST_COST }));
    assert!(revocations.of_issuer(&Digest([2; 32])).is_none());
    // dev itself, and everybody beside it.
    let _ = revocations.take(list("dev", 3, 1, MAX_SERIALS)).unwrap();
    let _ = revocations.take(list("other/b", 2, 1, 9)).unwrap();
    // A shorter list of the one that took it all makes room.
    let _ = revocations.take(list("dev/a", 1, 2, 0)).unwrap();
    let _ = revocations.take(list("dev/b", 4, 1, 9)).unwrap();
}

#[test]
fn each_level_down_has_half_the_room() {
    let mut revocations = Revocations::default();
    let half = usize::try_from(room_below(2)).unwrap();
    let refused = revocations.take(list("dev/a/x", 1, 1, half));
    assert!(matches!(refused, Err(NotTaken::NoRoom { at, .. }) if at.to_string() == "dev/a"));
    let _ = revocations.take(list("dev/a/x", 1, 1, half - 16)).unwrap();
    let _ = revocations.take(list("dev/b/x", 2, 1, half - 64)).unwrap();
}

#[test]
fn the_root_is_never_out_of_room() {
    let mut revocations = Revocations::default();
    let shared = list("dev", 0, 1, MAX_SERIALS);
    let mut key = 1;
    while revocations
        .take(Arc::new(RevocationList { issuer: Digest([key; 32]), ..(*shared).clone() }))
        .is_ok()
    {
        key += 1;
        assert!(key < 32, "the host's room has an end");
    }
    assert_eq!(key, 16);
    let _ = revocations.take(list("", 99, 1, MAX_SERIALS)).unwrap();
}

#[test]
fn what_was_kept_comes_back_whether_there_is_room_or_not_and_never_replaces_a_newer_list() {
    let mut revocations = Revocations::default();
    revocations.restore(list("dev/a", 1, 3, MAX_SERIALS));
    revocations.restore(list("dev/b", 2, 3, 9));
    revocations.restore(list("dev/b", 2, 2, 1));
    assert!(revocations.holds(&Digest([2; 32]), &serial(9)));
    assert!(revocations.take(list("dev/c", 3, 1, 0)).is_err());
    assert_eq!(revocations.iter().count(), 2);
}

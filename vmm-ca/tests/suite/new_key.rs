//! A delegation that was renewed with a new key: it has a database of its own, and the one of the old
//! key goes on to be what that is taken back with.

use vmm_ca::Exit;
use vmm_ca::database::Database;

use crate::desk::Desk;

/// A desk with `dev`, which has signed `admin`, and has another key since. What belongs to the old
/// one is called `old` something; only its database is still `dev.db`.
fn with_a_new_key() -> Desk {
    let desk = Desk::with_delegation();
    desk.run("request permissions admin --permission info").done();
    desk.run("sign dev.db dev.bundle dev.key admin.req").done();
    // What the old key signed is in the way of what the new one signs.
    for end in ["pem", "bundle"] {
        std::fs::rename(desk.path(&format!("admin.{end}")), desk.path(&format!("old-admin.{end}")))
            .unwrap();
    }
    desk.write("old.bundle", desk.read("dev.bundle"));
    desk.write("old.key", desk.read("dev.key"));
    desk.remove("dev.key");
    desk.remove("dev.req");
    desk.run("request delegation dev 4 2048 --cpu 0").done();
    let renewed = desk.run("sign ca.db cacert.pem ca.key dev.req --renew").done();
    assert!(renewed.out.contains("with a new database for the new key"), "{renewed:?}");
    desk
}

#[test]
fn a_new_key_does_not_go_on_with_the_database_of_the_old_one_and_is_told_what_to_do() {
    let desk = with_a_new_key();
    desk.write("many.csv", "label,machines,memory,cpus\nalice,1,64,0\n");
    let files = |desk: &Desk| -> Vec<(String, Vec<u8>)> {
        desk.files().into_iter().map(|name| (name.clone(), desk.read(&name))).collect()
    };
    let before = files(&desk);
    for command in
        ["sign DB admin.req --renew", "sign-batch DB many.csv", "revoke DB admin", "crl DB"]
    {
        let line = command.replace("DB", "dev.db dev.bundle dev.key");
        let refused = desk.run(&line).refused("dev.db is the database of another issuer key");
        for told in ["the name of a new database", "take back what its own key signed"] {
            assert!(refused.err.contains(told), "{refused:?}");
        }
        assert!(files(&desk) == before, "{line}: {:?}", desk.files());
    }
    // The old certificate with the new key, or the other way round, is no issuer at all.
    for (bundle, key) in [("old.bundle", "dev.key"), ("dev.bundle", "old.key")] {
        desk.run(&format!("sign dev.db {bundle} {key} admin.req --renew"))
            .refused("not that of the issuer");
    }
    assert!(files(&desk) == before);
}

#[test]
fn with_a_new_key_all_is_signed_anew_and_the_old_key_still_takes_back_what_it_signed() {
    let desk = with_a_new_key();
    desk.run("sign new.db dev.bundle dev.key admin.req").done();
    desk.run("verify admin.bundle --root cacert.pem").done();
    let known = |database: &str| {
        let database = Database::list(&desk.path(database)).unwrap();
        (database.issued().len(), database.revoked().len())
    };
    assert_eq!((known("dev.db"), known("new.db")), ((1, 0), (1, 0)));
    desk.run("revoke dev.db old.bundle old.key admin").done();
    assert_eq!((known("dev.db"), known("new.db")), ((1, 1), (1, 0)));
    // The new one is of another key: the list of the old one does not name it, nor can it.
    desk.run("verify admin.bundle --root cacert.pem --crl dev.crl").done();
    desk.run("revoke dev.db old.bundle old.key admin.pem").ended(Exit::Refused, "is not by");
    desk.run("revoke new.db dev.bundle dev.key admin").done();
    desk.run("verify admin.bundle --root cacert.pem --crl new.crl").refused("revoked");
}

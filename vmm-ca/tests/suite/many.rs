//! Many delegations at once, all or none; and a server's certificate anew.

use crate::desk::Desk;
use vmm_ca::database::Database;
use vmm_ca::{Exit, pem};
use vmm_proto::chain::certificate::Certificate;

const DAY: i64 = 86_400;
const HEAD: &str = "label,request,machines,memory,cpus,storage,bridges,days\n";
const BATCH: &str = "sign-batch dev.db dev.bundle dev.key many.csv";

/// How many certificates `dev` has issued.
fn issued(desk: &Desk) -> usize {
    Database::list(&desk.path("dev.db")).map_or(0, |database| database.issued().len())
}

#[test]
fn a_batch_signs_requests_and_makes_keys_for_the_rest() {
    let desk = Desk::with_delegation();
    desk.run("request delegation alice 1 64 --cpu 0").done();
    let rows = "alice,alice.req,,,,,,10\n\
                # a comment\n\
                bob,,1,128,0 1,50,int ext/10.0.0.2/10.0.0.9/10.0.0.1/24,\n";
    desk.write("many.csv", format!("{HEAD}{rows}"));
    let said = desk.run(BATCH).done();
    assert!(said.err.is_empty() && said.out.contains("2 delegations signed"), "{said:?}");
    assert_eq!(issued(&desk), 2);
    for label in ["alice", "bob"] {
        desk.run(&format!("request permissions me-{label} --permission all")).done();
        let files = format!("{label}.db {label}.bundle {label}.key");
        desk.run(&format!("sign {files} me-{label}.req")).done();
        desk.run(&format!("verify me-{label}.bundle --root cacert.pem")).done();
    }
    let until = |file: &str| {
        let certificate = &pem::read_certificates(&desk.path(file)).unwrap()[0];
        Certificate::parse(certificate).unwrap().validity.not_after
    };
    assert_eq!(until("alice.pem"), desk.now + 10 * DAY);
    assert_eq!(until("bob.pem"), desk.now + 365 * DAY);
}

#[test]
fn one_bad_row_and_nothing_is_signed_and_every_bad_row_is_named() {
    let desk = Desk::with_delegation();
    desk.run("request delegation alice 1 64 --cpu 0").done();
    desk.run("request permissions eve --permission all").done();
    desk.write("taken.key", "precious");
    let rows = "good,,1,64,0,,,\n\
                Alice,,1,64,0,,,\n\
                alice,alice.req,1,,,,,\n\
                bob,alice.req,,,,,,\n\
                big,,1,9999,0,,,\n\
                cpus,,1,64,0 x,,,\n\
                none,,1,64,,,,\n\
                good,,1,64,0,,,\n\
                eve,eve.req,,,,,,\n\
                days,,1,64,0,,,0\n\
                gone,gone.req,,,,,,\n\
                taken,,1,64,0,,,\n\
                short,,1\n";
    desk.write("many.csv", format!("{HEAD}{rows}"));
    let (before, files) = (desk.read("taken.key"), desk.files());
    let refused = desk.run(BATCH).refused("12 of the rows cannot be signed");
    for (row, because) in [
        (3, "is not a label"),
        (4, "leave it empty"),
        (5, "is for \"alice\""),
        (6, "memory 9999 is more than the issuer's 2048"),
        (7, "is not a CPU id"),
        (8, "\"cpus\" is missing"),
        (9, "stands in a row before"),
        (10, "a batch is of delegations"),
        (11, "days must be"),
        (12, "cannot open"),
        (13, "never replaced"),
        (14, "field"),
    ] {
        let place = format!("many.csv, row {row}: ");
        let line = refused.err.lines().find(|line| line.contains(&place));
        assert!(line.is_some_and(|line| line.contains(because)), "row {row}: {}", refused.err);
    }
    assert_eq!((desk.files(), desk.read("taken.key"), issued(&desk)), (files, before, 0));
}

#[test]
fn the_rows_of_a_batch_count_together() {
    let desk = Desk::with_delegation();
    desk.write("many.csv", format!("{HEAD}a,,1,1500,0,,,\nb,,1,1500,0,,,\n"));
    desk.run(&format!("{BATCH} --no-overcommit")).refused("1 of the rows");
    assert_eq!(issued(&desk), 0);
    let warned = desk.run(BATCH).done();
    assert!(warned.err.contains("row 3: over-committed: memory 3000 MiB"), "{warned:?}");
    desk.remove("a.key");
    desk.remove("b.key");
    desk.run(BATCH).refused("2 of the rows");
    desk.run(&format!("{BATCH} --renew")).done();
    assert_eq!(issued(&desk), 4);
}

#[test]
fn whoever_answers_no_to_a_batch_leaves_no_trace() {
    let desk = Desk::with_delegation();
    desk.write("many.csv", format!("{HEAD}a,,1,1,0,,,\n"));
    let files = desk.files();
    desk.run_with(BATCH, Some("no\n")).ended(Exit::Failed, "the answer was no");
    assert_eq!(desk.files(), files);
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    let desk = Desk::with_delegation();
    for (text, because) in [("", "no row"), (HEAD, "no row"), ("label,colour\na,red\n", "colour")] {
        desk.write("many.csv", text);
        let outcome = desk.run(BATCH);
        assert_ne!(outcome.exit, Exit::Done);
        assert!(outcome.err.contains(because), "{outcome:?}");
    }
}

#[test]
fn a_servers_certificate_is_renewed_for_its_names_and_key() {
    let mut desk = Desk::with_authority();
    let certificate = |desk: &Desk| {
        let found = pem::read_certificates(&desk.path("server.pem")).unwrap();
        Certificate::parse(&found[0]).unwrap()
    };
    let old = certificate(&desk);
    desk.remove("server.key");
    desk.now += 300 * DAY;
    let renew = "renew-server ca.db cacert.pem ca.key server.pem";
    let said = desk.run(renew).done();
    assert!(said.out.contains("localhost"), "{said:?}");
    let new = certificate(&desk);
    assert_eq!(new.key, old.key);
    assert_ne!(new.serial, old.serial);
    assert_eq!(new.validity.not_after, desk.now + 365 * DAY);
    desk.run("verify server.pem --root cacert.pem").done();

    desk.run(&format!("{renew} --server a.example --new-key next.key")).done();
    assert_ne!(certificate(&desk).key, old.key);
    let before = (desk.read("server.pem"), desk.read("next.key"));
    desk.run(&format!("{renew} --new-key next.key")).ended(Exit::Failed, "never replaced");
    assert_eq!((desk.read("server.pem"), desk.read("next.key")), before);
    assert!(desk.run("inspect server.pem").done().out.contains("a.example"));
}

#[test]
fn only_the_root_renews_a_server_and_only_its_own() {
    let desk = Desk::with_delegation();
    let before = desk.read("server.pem");
    desk.run("renew-server dev.db dev.bundle dev.key server.pem").refused("only the root");
    desk.run("renew-server ca.db cacert.pem ca.key dev.pem").ended(Exit::Usage, "a delegation");
    let other = Desk::with_authority();
    desk.write("other.pem", other.read("server.pem"));
    desk.run("renew-server ca.db cacert.pem ca.key other.pem").refused("not issued by");
    assert_eq!(desk.read("server.pem"), before);
}

//! Each verb with each permission, alone, against a real `vmmd`; and what leaves see from where they
//! stand in the tree.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use vmm_proto::message::ConsoleStart;
use vmm_proto::message::client::{
    Described, Doorkeeping, Error, ErrorCode, NetworkDeed, Reply, Request, ToServer,
};
use vmm_proto::message::spawn::HostNetwork;
use vmm_proto::message::why::Deed;
use vmm_proto::permission::Permission;
use vmm_proto::resource::Machine;
use vmm_proto::verb::Verb;
use vmm_tests::deploy;
use vmm_tests::forge::{Forge, Forged};
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

fn described(name: &str, replace: bool) -> Described {
    let machine = Machine { memory_mib: 1, replace, ..deploy::machine([1; 32], 4096) };
    deploy::described(name, machine)
}

/// A request of that verb about a machine. Without a description a deploy means the leaf's own.
fn request(verb: Verb, name: &str, describe: bool) -> Request {
    let described = describe.then(|| described(name, verb == Verb::Replace));
    let name = name.to_owned();
    match verb {
        Verb::Deploy | Verb::Replace => deploy::request(described),
        Verb::Info => Request::Info { name: Some(name) },
        Verb::Quota => Request::Quota,
        Verb::Attach => Request::Attach { name, start: ConsoleStart::Position(0), follow: false },
        Verb::Detach => Request::Detach { name },
        Verb::Statistics => Request::Statistics { name: Some(name), follow: false },
        Verb::Log => Request::Log { name: Some(name), since_ms: None, follow: false },
        Verb::Start => Request::Start { name },
        Verb::Stop => Request::Stop { name, timeout_ms: None },
        Verb::Restart => Request::Restart { name, timeout_ms: None },
        Verb::Destroy => Request::Destroy { name },
        Verb::Revoke => Request::Revoke { size: 1, chain: Vec::new() },
        Verb::Why => Request::Why(Deed::Deploy { described, attach: false }),
        Verb::Host => Request::Host(Doorkeeping::Open),
    }
}

/// How a request ends; one that is about to take an upload has been let through, and is cancelled.
fn ask(peer: &mut Peer, number: u32, request: Request) -> Result<(), Error> {
    peer.send(number, &ToServer::Open(request)).unwrap();
    loop {
        match peer.receive().unwrap() {
            Some((of, Reply::Error(error))) if of == number => return Err(error),
            Some((of, Reply::Done)) if of == number => return Ok(()),
            Some((of, Reply::NeedImage { .. } | Reply::NeedList)) if of == number => {
                peer.send(number, &ToServer::Cancel).unwrap();
                return Ok(());
            }
            Some((of, _)) if of == number => {}
            other => panic!("{other:?}"),
        }
    }
}

fn dev() -> Forge {
    Forge::root("ca root").delegation("dev", |_| {})
}

fn connect(setup: &Setup, forged: &Forged) -> Peer {
    Peer::connect(setup.house.address, Credentials::forged(forged).config()).unwrap()
}

/// Writes a forged leaf as `LABEL.bundle` and `LABEL.key`.
fn write(setup: &Setup, label: &str, forged: &Forged) {
    std::fs::write(setup.file(&format!("{label}.bundle")), forged.chain_pem()).unwrap();
    let key = setup.file(&format!("{label}.key"));
    std::fs::write(&key, forged.key_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn each_verb_needs_its_permission_and_no_other_one_will_do() {
    let setup = Setup::forged();
    for permission in Permission::EACH {
        let leaf = dev().permissions("leaf", &[permission as usize], |_| {}).sign();
        let mut peer = connect(&setup, &leaf);
        for (number, verb) in (1..).zip(Verb::EACH) {
            let verdict = ask(&mut peer, number, request(verb, "nobody", true));
            let allowed = match (permission, verb) {
                // Of all, too, only who speaks for the host.
                (_, Verb::Host) => false,
                (Permission::All, _) => true,
                // It takes `create` also.
                (_, Verb::Replace) => false,
                (permission, verb) => permission == verb.permission(),
            };
            match verdict {
                Err(error) if !allowed => {
                    assert_eq!(error.code, ErrorCode::Permission, "{verb} {permission}: {error}");
                    let says = |permission: Permission| error.message.contains(permission.as_str());
                    let needed = if verb == Verb::Replace { Verb::Deploy } else { verb };
                    let beside = verb == Verb::Host && permission == Permission::All;
                    let right = says(needed.permission()) && says(permission);
                    assert!(right || beside, "{verb}: {error}");
                }
                Err(error) => {
                    assert_ne!(error.code, ErrorCode::Permission, "{verb} {permission}: {error}");
                }
                Ok(()) => assert!(allowed, "{verb} with only {permission}"),
            }
        }
    }
}

#[test]
fn networks_of_the_host_are_nobodys_who_has_a_certificate() {
    let setup = Setup::forged();
    let network = HostNetwork {
        name: "inner".to_owned(),
        address: [10, 7, 0, 1].into(),
        prefix: 24,
        uplink: None,
    };
    let deeds = [
        NetworkDeed::Add(network),
        NetworkDeed::List,
        NetworkDeed::Remove { name: "inner".into() },
    ];
    // Who speaks for all of the host, who speaks for a part of it, and a machine.
    let all = [Permission::All as usize];
    for (who, leaf) in [
        ("host", Forge::root("ca root").permissions("host", &all, |_| {}).sign()),
        ("dev", dev().permissions("leaf", &all, |_| {}).sign()),
        ("machine", dev().machine("machine", |_| {}).sign()),
    ] {
        let mut peer = connect(&setup, &leaf);
        for (number, deed) in (1..).zip(deeds.clone()) {
            let said = format!("{who} {deed:?}");
            let error = ask(&mut peer, number, Request::HostNetwork(deed)).expect_err(&said);
            assert_eq!(error.code, ErrorCode::Permission, "{said}: {error}");
            assert_eq!(error.message.contains("local socket"), who == "host", "{said}: {error}");
        }
        // It is about that, and not about this connection.
        assert_eq!(ask(&mut peer, 9, Request::Quota).is_ok(), who != "machine", "{who}");
    }
    let listed = setup.admin(&["--format", "json", "host", "network", "list"]).expect(0).json();
    assert_eq!(listed, json!([]));
}

#[test]
fn a_leaf_without_any_permission_is_no_leaf() {
    let setup = Setup::forged();
    let mut peer = connect(&setup, &dev().permissions("leaf", &[], |_| {}).sign());
    // The connection may be closed already; the reason is there all the same.
    let _closed = peer.send(1, &ToServer::Open(Request::Quota));
    let Some((0, Reply::Error(error))) = peer.receive().unwrap() else { panic!("no reason") };
    assert_eq!(error.code, ErrorCode::Chain, "{error}");
}

#[test]
fn verbs_that_are_not_built_are_refused_clearly() {
    let setup = Setup::new();
    for words in [&["image", "list"][..], &["volume", "list"], &["type", "hello"]] {
        let done = setup.client("admin", words);
        assert!(done.expect(2).err.contains("unrecognized subcommand"), "{}", done.err);
    }
}

#[test]
fn a_machines_leaf_is_for_that_machine_and_little_else() {
    let setup = Setup::new();
    setup.machine("dev", "own", &["ticker.spt", "64", "--cpu", "0"]);
    setup.client("own", &["deploy", "--image", "ticker.spt"]).expect(0);
    setup.client("dev", &["run", "other", "ticker.spt", "--memory", "64", "--cpu", "0"]).expect(0);
    let mut peer = setup.peer("own");
    let mut number = 0;
    for verb in Verb::EACH {
        for (name, describe) in [("own", false), ("own", true), ("other", true), ("/dev/", true)] {
            number += 1;
            let verdict = ask(&mut peer, number, request(verb, name, describe));
            let looks = matches!(verb, Verb::Info | Verb::Attach) && name == "own";
            // `replace` without a description is the own deploy.
            let deploys = matches!(verb, Verb::Deploy | Verb::Replace | Verb::Why) && !describe;
            match verdict {
                Ok(()) => assert!(looks || deploys && verb == Verb::Why, "{verb} {name}"),
                Err(error) if deploys => assert_eq!(error.code, ErrorCode::Name, "{verb}: {error}"),
                Err(error) => {
                    assert!(!looks, "{verb} {name}: {error}");
                    assert_eq!(error.code, ErrorCode::Permission, "{verb} {name}: {error}");
                }
            }
        }
    }
    let seen = setup.json("own", &["info"]);
    let names: Vec<_> = seen.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert_eq!(names, ["dev/own"]);
}

#[test]
fn a_leaf_sees_and_reaches_all_below_its_path_and_nothing_beside() {
    let setup = Setup::forged();
    let alice = || dev().delegation("alice", |_| {});
    let bob = || dev().delegation("bob", |_| {});
    for (label, forge) in [
        ("top", Forge::root("ca root")),
        ("middle", dev()),
        ("alice", alice()),
        ("bob", bob()),
        ("other", Forge::root("ca root").delegation("other", |_| {})),
    ] {
        write(&setup, label, &forge.permissions(label, &[0], |_| {}).sign());
    }
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("alice", &run).expect(0);
    setup.client("bob", &["info"]).expect(0);
    setup.client("other", &["info"]).expect(0);

    // From two levels up as from one: the machine, and the verbs about it.
    for who in ["top", "middle", "alice"] {
        assert_eq!(setup.json(who, &["info"])[0]["name"], "dev/alice/tick", "{who}");
        assert_eq!(setup.json(who, &["statistics"])[0]["name"], "dev/alice/tick", "{who}");
        let started = || {
            let log = setup.json(who, &["log", "/dev/alice/tick"]);
            log.as_array().unwrap().iter().any(|it| it["kind"] == "started")
        };
        wait_until(&format!("its start in the log for {who}"), started).unwrap();
        let console = setup.client(who, &["attach", "/dev/alice/tick", "--no-follow"]);
        console.expect(0);
    }
    setup.client("top", &["restart", "/dev/alice/tick"]).expect(0);
    setup.client("middle", &["stop", "alice/tick"]).expect(0);
    setup.client("alice", &["start", "tick"]).expect(0);

    for who in ["bob", "other"] {
        for list in ["info", "statistics"] {
            assert_eq!(setup.json(who, &[list]), json!([]), "{who} {list}");
        }
        let shown = setup.json(who, &["quota"]);
        let paths: Vec<&Value> = shown.as_array().unwrap().iter().map(|row| &row["path"]).collect();
        let own = if who == "bob" { "dev/bob" } else { "other" };
        assert_eq!(paths, [own]);
        assert_eq!(shown[0]["machines"]["used"], 0);
        let log = setup.client(who, &["--format", "json", "log"]);
        assert!(!log.expect(0).out.contains("alice"), "{}", log.out);
        for command in [
            &["info", "/dev/alice/tick"][..],
            &["info", "/dev/alice/"],
            &["info", "/"],
            &["statistics", "/dev/alice/tick"],
            &["statistics", "/dev/"],
            &["log", "/dev/alice/tick"],
            &["log", "/"],
            &["attach", "/dev/alice/tick"],
            &["why", "start", "/dev/alice/tick"],
            &["stop", "/dev/alice/tick"],
            &["destroy", "/dev/alice/tick"],
        ] {
            let done = setup.client(who, command);
            assert!(done.expect(3).out.is_empty(), "{who} {command:?}: {}", done.out);
            // Whether there is such a machine is not told either.
            let absent: Vec<_> = command.iter().map(|word| word.replace("tick", "none")).collect();
            let words: Vec<_> = absent.iter().map(String::as_str).collect();
            let nobody = setup.client(who, &words);
            assert_eq!(nobody.err.replace("none", "tick"), done.err, "{who} {command:?}");
        }
    }
    // Nothing of all that has reached the machine.
    assert_eq!(setup.state("/dev/alice/tick").as_deref(), Some("running"));
}

#[test]
fn the_log_of_a_name_that_never_was_is_no_such_name() {
    let setup = Setup::new();
    setup.client("dev", &["log", "nobody"]).expect(4);
    let run = ["run", "tick", "ticker.spt", "--memory", "64", "--cpu", "0"];
    setup.client("dev", &run).expect(0);
    setup.client("dev", &["log", "tick"]).expect(0);
    setup.client("dev", &["destroy", "tick"]).expect(0);
    let log = || setup.client("dev", &["log", "tick"]);
    let destroyed = || log().code == Some(0) && log().out.contains("destroyed /dev/tick");
    wait_until("its end in the log", destroyed).unwrap();
    // It was, though nothing has happened to it since.
    let since = setup.client("dev", &["log", "tick", "--since", "0s"]);
    assert_eq!(since.expect(0).out, "");
    setup.client("dev", &["log", "nobody", "--since", "1d"]).expect(4);
    setup.client("dev", &["log"]).expect(0);
}

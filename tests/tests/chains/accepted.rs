//! Chains that are unusual and right.

use vmm_proto::authority::{Authorization, Holder};
use vmm_proto::permission::{Permission, Permissions};
use vmm_proto::resource::{Encoding, Image, Restart};
use vmm_tests::forge::extensions::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, EXT_KEY_USAGE, Extended, POLICIES, SUBJECT_ALT_NAME,
    SUBJECT_KEY_ID, UNKNOWN, alternative_names, basic_constraints,
};
use vmm_tests::forge::grant::{self, Fields, documentation6};
use vmm_tests::forge::key::Kind;
use vmm_tests::forge::names::{COMMON_NAME, Name};
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, der};

use crate::case::{self, Accepted, all_are_accepted};
use crate::scene::{NOW, SERVER, Scene, deep, machine, none, six, two};

type Case = Accepted<Scene>;

/// The chain has these labels, separated by `/`, and this holds of it.
fn accept(
    name: impl Into<String>,
    base: fn() -> Scene,
    change: impl FnOnce(&mut Scene),
    path: &'static str,
    holds: fn(&Authorization) -> bool,
) -> Case {
    case::accept(name, base, change, move |found| {
        let links: Vec<_> = found.links().iter().map(|link| link.label.as_str()).collect();
        found.path().to_string() == path && links.join("/") == path && holds(found)
    })
}

/// The chain of [`two`] has its labels with the change too, and this holds of it.
fn said(name: &str, change: impl FnOnce(&mut Scene), holds: fn(&Authorization) -> bool) -> Case {
    accept(name, two, change, "dev/alice", holds)
}

/// The chain of [`two`] says the same as without the change.
fn same(name: &str, change: impl FnOnce(&mut Scene)) -> Case {
    said(name, change, is_all)
}

fn of_machine(authorization: &Authorization) -> &vmm_proto::resource::Machine {
    match authorization.holder() {
        Holder::Machine(machine) => machine,
        other => panic!("not a machine: {other:?}"),
    }
}

fn permissions(authorization: &Authorization) -> Permissions {
    match authorization.holder() {
        Holder::Permissions(permissions) => *permissions,
        other => panic!("no permissions: {other:?}"),
    }
}

fn is_all(authorization: &Authorization) -> bool {
    permissions(authorization) == Permissions::of([Permission::All])
}

fn paths() -> Vec<Case> {
    const SIX: &str = "d1/d2/d3/d4/d5/d6";
    vec![
        same("a plain chain", |_| {}),
        accept(
            "a plain machine",
            machine,
            |_| {},
            "dev",
            |a| {
                let machine = of_machine(a);
                machine.memory_mib == 32
                    && machine.cpus.ids() == [0]
                    && machine.arguments.words() == ["--name=world", "two"]
                    && machine.restart == Restart::Never
                    && !machine.replace
                    && machine.priority == 50
                    && matches!(&machine.image, Image::Digest { sha256, size: 4096 } if sha256.0 == [7; 32])
            },
        ),
        accept(
            "a leaf by the root itself",
            none,
            |_| {},
            "",
            |a| is_all(a) && a.links().is_empty(),
        ),
        accept(
            "a machine by the root itself",
            none,
            |s| s.forge = Forge::root("ca root").machine("hello", |_| {}),
            "",
            |a| a.own_machine().is_some_and(|own| own.to_string() == "hello"),
        ),
        accept(
            "one delegation",
            two,
            |s| s.forge = deep(1).permissions("admin", &[1], |_| {}),
            "d1",
            |a| permissions(a) == Permissions::of([Permission::Info]),
        ),
        accept("six delegations", six, |_| {}, SIX, is_all),
        accept(
            "six delegations and the root",
            six,
            |s| s.present(|list, forged| list.push(forged.root_der().to_vec())),
            SIX,
            is_all,
        ),
        same("the root presented too", |s| {
            s.present(|list, forged| list.push(forged.root_der().to_vec()));
        }),
        accept(
            "a direct leaf and the root",
            none,
            |s| s.present(|list, forged| list.push(forged.root_der().to_vec())),
            "",
            is_all,
        ),
        said(
            "a leaf with the label of its issuer",
            |s| s.at(3).subject = Name::common("alice"),
            |a| a.describe() == "dev/alice/alice",
        ),
        accept(
            "a delegation with the label of its issuer",
            two,
            |s| s.at(2).subject = Name::common("dev"),
            "dev/dev",
            |a| a.links()[1].issuer == a.links()[0].key,
        ),
        accept(
            "a machine with the label of its delegation",
            machine,
            |s| s.at(2).subject = Name::common("dev"),
            "dev",
            |a| a.own_machine().is_some_and(|own| own.to_string() == "dev/dev"),
        ),
        accept(
            "labels of one letter",
            two,
            |s| {
                s.at(1).subject = Name::common("a");
                s.at(2).subject = Name::common("0");
                s.at(3).subject = Name::common("b");
            },
            "a/0",
            |a| a.describe() == "a/0/b",
        ),
        said(
            "a label of 63 letters",
            |s| s.at(3).subject = Name::common(&"x".repeat(63)),
            |a| a.describe().ends_with(&"x".repeat(63)),
        ),
        accept(
            "a label with hyphens in a row",
            two,
            |s| s.at(1).subject = Name::common("xn--0"),
            "xn--0/alice",
            is_all,
        ),
        same("a root with a longer name", |s| {
            s.at(0).subject = Name::common("the ca root of example");
        }),
    ]
}

fn fields() -> Vec<Case> {
    let printable =
        |text: &str| Name::of(&[&[(COMMON_NAME, der::PRINTABLE_STRING, text.as_bytes())]]);
    let mut cases = vec![
        same("commonNames in PrintableString", |s| {
            for (place, name) in ["ca root", "dev", "alice", "admin"].into_iter().enumerate() {
                s.at(place).subject = printable(name);
            }
        }),
        same("a serial of one octet", |s| s.at(3).serial = vec![1]),
        said(
            "a serial of 20 octets",
            |s| s.at(1).serial = vec![0x7f; 20],
            |a| a.links()[0].serial.0.as_ref() == [0x7f; 20],
        ),
        said(
            "a serial whose zero is its sign",
            |s| s.at(1).serial = vec![0, 0x80],
            |a| a.links()[0].serial.0.as_ref() == [0, 0x80],
        ),
        same("one serial for all, by different issuers", |s| s.each(|c| c.serial = vec![42])),
        said(
            "an end after 2050",
            |s| s.each(|c| c.not_after = Time::generalized("20991231235959Z")),
            |a| a.validity().not_after == 4_102_444_799,
        ),
        said(
            "an end that never comes",
            |s| s.each(|c| c.not_after = Time::generalized("99991231235959Z")),
            |a| a.validity().not_after == 253_402_300_799,
        ),
        said(
            "valid from this second",
            |s| s.each(|c| c.not_before = Time::unix(NOW)),
            |a| a.validity().not_before == NOW,
        ),
        said(
            "valid until this second",
            |s| s.each(|c| c.not_after = Time::unix(NOW)),
            |a| a.validity().not_after == NOW,
        ),
        said(
            "a leaf that outlives its issuer",
            |s| s.at(2).not_after = Time::unix(NOW + 60),
            |a| a.validity().not_after == NOW + 60,
        ),
        said(
            "a leaf older than its issuer",
            |s| s.at(2).not_before = Time::unix(NOW - 60),
            |a| a.validity().not_before == NOW - 60,
        ),
        same("an unknown extension that is not critical", |s| {
            s.each(|c| c.add(UNKNOWN, false, vec![5, 0]));
        }),
        same("an unknown extension of rubbish", |s| {
            s.at(3).add(UNKNOWN, false, vec![0xff; 9]);
        }),
        same("certificate policies of rubbish, not critical", |s| {
            s.at(3).add(POLICIES, false, vec![0xff; 9]);
        }),
        same("a subjectAltName in a leaf", |s| {
            s.at(3).add(SUBJECT_ALT_NAME, false, alternative_names(&["admin.example"], &[]));
        }),
        said(
            "subjectAltNames that claim to be somebody else",
            |s| {
                let names = der::sequence(&[
                    der::tlv(der::constructed(4), &Name::common("root").0),
                    der::tlv(der::context(1), b"eve@localhost"),
                    der::tlv(der::context(2), b"eve"),
                    der::tlv(der::context(2), b"admin\0.eve"),
                    der::tlv(der::context(6), b"vmm:///"),
                    der::tlv(der::context(7), &[127, 0, 0, 1]),
                ]);
                for place in 1..4 {
                    s.at(place).add(SUBJECT_ALT_NAME, false, names.clone());
                }
            },
            |a| a.describe() == "dev/alice/admin",
        ),
        same("thousands of unknown extensions", |s| {
            (0..4000).for_each(|arc| s.at(3).add(&[2, 999, arc], false, vec![5, 0]));
        }),
        same("a subjectKeyIdentifier in a leaf", |s| {
            s.at(3).add(SUBJECT_KEY_ID, false, der::tlv(der::OCTET_STRING, &[3; 20]));
        }),
        same("extensions in the opposite order", |s| s.each(|c| c.extensions.reverse())),
        same("a critical extKeyUsage", |s| {
            for place in 1..4 {
                s.at(place).extension(EXT_KEY_USAGE).critical = true;
            }
        }),
        same("an authorityKeyIdentifier with issuer and serial too", |s| {
            let (key_id, serial) = (s.at(2).identifier(), s.at(2).serial.clone());
            let issuer = der::tlv(der::constructed(4), &s.at(1).subject.0);
            s.at(3).set(
                AUTHORITY_KEY_ID,
                der::sequence(&[
                    der::tlv(der::context(0), &key_id),
                    der::tlv(der::constructed(1), &issuer),
                    der::tlv(der::context(2), &serial),
                ]),
            );
        }),
        same("key identifiers of one octet and of 64", |s| {
            s.at(1).key_id = Some(vec![1]);
            s.at(2).key_id = Some(vec![2; 64]);
        }),
        same("all key identifiers alike", |s| {
            for place in 0..3 {
                s.at(place).key_id = Some(vec![5; 20]);
            }
        }),
        same("an authorityKeyIdentifier in the root", |s| {
            let key_id = s.at(0).identifier();
            let value = der::sequence(&[der::tlv(der::context(0), &key_id)]);
            s.at(0).add(AUTHORITY_KEY_ID, false, value);
        }),
        accept(
            "path lengths that are just enough",
            six,
            Scene::path_lengths,
            "d1/d2/d3/d4/d5/d6",
            is_all,
        ),
        same("a path length of 255", |s| {
            s.at(1).set(BASIC_CONSTRAINTS, basic_constraints(true, Some(255)));
        }),
        said(
            "one key for a delegation and its issuer",
            |s| s.at(2).key = s.at(1).key.clone(),
            |a| a.links()[0].key == a.links()[1].key,
        ),
    ];
    for (name, kinds) in [
        ("P-256 all over", [Kind::P256; 4]),
        ("P-384 all over", [Kind::P384; 4]),
        ("P-384 below Ed25519", [Kind::Ed25519, Kind::P384, Kind::P384, Kind::P384]),
        (
            "a different kind of key at each step",
            [Kind::P384, Kind::Ed25519, Kind::P256, Kind::P384],
        ),
        ("a P-256 leaf below Ed25519", [Kind::Ed25519, Kind::Ed25519, Kind::Ed25519, Kind::P256]),
    ] {
        cases.push(same(name, |s| s.keys(&kinds)));
    }
    cases
}

/// dev with these bridges, alice with these.
fn bridges(s: &mut Scene, dev: &[Vec<u8>], alice: &[Vec<u8>]) {
    s.at(1).fields().list("bridges", dev);
    s.at(2).fields().list("bridges", alice);
}

/// dev and alice with one bridge of these ranges.
fn ranges(name: &str, range: Option<&Fields>, range6: Option<&Fields>) -> Case {
    let bridge = [grant::bridge("service", range, range6)];
    same(name, |s| bridges(s, &bridge, &bridge))
}

fn delegations() -> Vec<Case> {
    let link_local = {
        let mut gateway = documentation6(1);
        gateway[..8].copy_from_slice(&[0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
        grant::range(&documentation6(0x10), &documentation6(0x99), &gateway, 64)
    };
    let smallest6 = grant::range(&documentation6(0), &documentation6(0), &documentation6(1), 127);
    vec![
        said(
            "a delegation equal to its issuer's",
            |_| {},
            |a| a.links()[0].grant.same_share(&a.links()[1].grant),
        ),
        said(
            "a delegation of nothing",
            |s| {
                for field in ["machines", "memory", "storage", "generation"] {
                    s.at(2).fields().number(field, 0);
                }
                s.at(2).fields().list("cpus", &[]);
                s.at(2).fields().list("bridges", &[]);
            },
            |a| {
                let grant = &a.links()[1].grant;
                grant.machines == 0
                    && grant.memory_mib == 0
                    && grant.cpus.is_empty()
                    && grant.generation == 0
            },
        ),
        said(
            "the largest delegation there is",
            |s| {
                let fields = s.at(1).fields();
                fields.number("generation", (1 << 63) - 1);
                fields.number("machines", 65_535);
                fields.number("memory", u64::from(u32::MAX));
                fields.number("storage", u64::from(u32::MAX));
                fields.numbers("cpus", &(0..4096).collect::<Vec<_>>());
            },
            |a| {
                let grant = &a.links()[0].grant;
                grant.machines == u16::MAX
                    && grant.memory_mib == u32::MAX
                    && grant.cpus.ids().len() == 4096
            },
        ),
        said(
            "a generation lower than the issuer's",
            |s| s.at(1).fields().number("generation", 1_800_000_000),
            |a| a.links()[1].grant.generation == 1,
        ),
        said(
            "64 bridges",
            |s| {
                let all: Vec<_> =
                    (0..64).map(|n| grant::bridge(&format!("br{n}"), None, None)).collect();
                bridges(s, &all, &all);
            },
            |a| a.links()[1].grant.bridges.iter().count() == 64,
        ),
        said(
            "bridges in another order than the issuer's",
            |s| {
                let [one, two] = ["br1", "br2"].map(|name| grant::bridge(name, None, None));
                bridges(s, &[one.clone(), two.clone()], &[two, one]);
            },
            |a| a.links()[1].grant.bridges.iter().count() == 2,
        ),
        same("a bridge's name of 15 characters of all kinds", |s| {
            let bridge = [grant::bridge("A0_.-bcdefghijk", None, None)];
            bridges(s, &bridge, &bridge);
        }),
        said(
            "a range narrowed to one address",
            |s| {
                let narrow = grant::range(&[192, 0, 2, 42], &[192, 0, 2, 42], &[192, 0, 2, 1], 24);
                let bridge = grant::bridge("service", Some(&narrow), Some(&grant::range6()));
                s.at(2).fields().list("bridges", &[bridge]);
            },
            |a| {
                a.links()[1]
                    .grant
                    .bridges
                    .iter()
                    .all(|bridge| bridge.range().is_some_and(|range| range.first() == range.last()))
            },
        ),
        ranges("IPv6 only", None, Some(&grant::range6())),
        ranges("IPv6 behind a link-local gateway", None, Some(&link_local)),
        ranges(
            "a subnet of 31 bits",
            Some(&grant::range(&[192, 0, 2, 0], &[192, 0, 2, 0], &[192, 0, 2, 1], 31)),
            None,
        ),
        ranges("a subnet of 127 bits", None, Some(&smallest6)),
        ranges(
            "a gateway above the range",
            Some(&grant::range(&[192, 0, 2, 1], &[192, 0, 2, 99], &[192, 0, 2, 254], 24)),
            None,
        ),
        ranges(
            "an address that ends in 255 inside of a larger subnet",
            Some(&grant::range(&[10, 0, 0, 255], &[10, 0, 1, 0], &[10, 0, 0, 1], 16)),
            None,
        ),
        said(
            "hosts inherited",
            |s| grant::hosts(s.at(1).fields(), &[&SERVER]),
            |a| a.links()[1].grant.hosts.is_none(),
        ),
        said(
            "hosts narrowed",
            |s| {
                grant::hosts(s.at(1).fields(), &[&[1; 32], &SERVER, &[2; 32]]);
                grant::hosts(s.at(2).fields(), &[&SERVER]);
            },
            |a| a.links()[1].grant.hosts.as_ref().is_some_and(|hosts| hosts.keys().len() == 1),
        ),
        accept(
            "hosts named first far down",
            six,
            |s| {
                grant::hosts(s.at(6).fields(), &[&SERVER, &[9; 32]]);
            },
            "d1/d2/d3/d4/d5/d6",
            is_all,
        ),
        accept(
            "hosts narrowed below a delegation that inherits them",
            six,
            |s| {
                grant::hosts(s.at(2).fields(), &[&SERVER, &[9; 32]]);
                grant::hosts(s.at(5).fields(), &[&SERVER]);
            },
            "d1/d2/d3/d4/d5/d6",
            is_all,
        ),
        said(
            "64 hosts",
            |s| {
                let mut keys: Vec<[u8; 32]> = (0..63).map(|n| [n; 32]).collect();
                keys.push(SERVER);
                grant::hosts(
                    s.at(1).fields(),
                    &keys.iter().map(|key| &key[..]).collect::<Vec<_>>(),
                );
            },
            |a| a.links()[0].grant.hosts.as_ref().is_some_and(|hosts| hosts.keys().len() == 64),
        ),
    ]
}

fn hello(name: &str, change: impl FnOnce(&mut Fields), holds: fn(&Authorization) -> bool) -> Case {
    accept(name, machine, |s| change(s.at(2).fields()), "dev", holds)
}

fn leaves() -> Vec<Case> {
    let mut cases = vec![
        hello(
            "a machine with 63 devices",
            |f| {
                let networks: Vec<_> =
                    (0..31).map(|n| grant::network(&format!("net{n}"), "service", None)).collect();
                let volumes: Vec<_> =
                    (0..32).map(|n| grant::volume(&format!("vol{n}"), "data", Some(512))).collect();
                f.list("networks", &networks);
                f.list("volumes", &volumes);
            },
            |a| {
                let devices = &of_machine(a).devices;
                devices.networks().len() == 31 && devices.volumes().len() == 32
            },
        ),
        hello(
            "arguments of 8191 bytes",
            |f| grant::arguments(f, &[&"a".repeat(8191)]),
            |a| of_machine(a).arguments.words()[0].len() == 8191,
        ),
        hello(
            "arguments of 8191 bytes when joined",
            |f| {
                grant::arguments(f, &["a".repeat(4096).as_str(), &"b".repeat(4094)]);
            },
            |a| of_machine(a).arguments.words().len() == 2,
        ),
        hello(
            "256 arguments, most of them empty",
            |f| {
                let mut words = [""; 256];
                words[255] = "x";
                grant::arguments(f, &words);
            },
            |a| of_machine(a).arguments.words().len() == 256,
        ),
        hello(
            "an argument in many scripts",
            |f| grant::arguments(f, &["grüße 你好 🦀"]),
            |a| of_machine(a).arguments.words() == ["grüße 你好 🦀"],
        ),
        hello(
            "no arguments",
            |f| grant::arguments(f, &[]),
            |a| of_machine(a).arguments.words().is_empty(),
        ),
        hello(
            "an embedded image",
            |f| f.set("image", grant::embedded(0, 4, b"\x7fELF")),
            |a| matches!(&of_machine(a).image, Image::Embedded { encoding: Encoding::Identity, data, .. } if data == b"\x7fELF"),
        ),
        hello(
            "an embedded image of 16 MiB, packed",
            |f| {
                f.set("image", grant::embedded(1, 16 << 20, b"packed"));
            },
            |a| of_machine(a).image.size() == 16 << 20,
        ),
        hello(
            "an image of 1 GiB",
            |f| f.set("image", grant::by_digest(&[1; 32], 1 << 30)),
            |a| of_machine(a).image.size() == 1 << 30,
        ),
        hello(
            "a machine larger than its delegation",
            |f| {
                // What fits is judged when it starts (rule 7), not by the chain.
                f.number("memory", u64::from(u32::MAX));
                f.numbers("cpus", &[4095]);
            },
            |a| of_machine(a).memory_mib == u32::MAX,
        ),
        hello(
            "restart on failure with all codes",
            |f| {
                f.set("restart", grant::on_failure(&(0..256).collect::<Vec<_>>(), 65_535));
            },
            |a| matches!(&of_machine(a).restart, Restart::OnFailure { codes, limit: 65_535 } if codes.len() == 256),
        ),
        hello(
            "restart on any failure, without limit",
            |f| f.set("restart", grant::on_failure(&[], 0)),
            |a| matches!(&of_machine(a).restart, Restart::OnFailure { codes, limit: 0 } if codes.is_empty()),
        ),
        hello(
            "restart codes that do not ascend",
            |f| f.set("restart", grant::on_failure(&[9, 3, 7], 1)),
            |a| matches!(&of_machine(a).restart, Restart::OnFailure { codes, .. } if codes == &[9, 3, 7]),
        ),
        hello(
            "restart always, replace, priority 100",
            |f| {
                f.set("restart", der::tlv(der::context(2), &[]));
                f.set("replace", vec![0xff]);
                f.number("priority", 100);
            },
            |a| {
                let machine = of_machine(a);
                machine.restart == Restart::Always && machine.replace && machine.priority == 100
            },
        ),
        hello(
            "sectors of 32 KiB and a locally administered MAC address",
            |f| {
                f.list("networks", &[grant::network("Net0", "service", Some(&[2, 0, 0, 0, 0, 1]))]);
                f.list("volumes", &[grant::volume("Vol0", "data-0", Some(32_768))]);
            },
            |a| {
                let devices = &of_machine(a).devices;
                devices.networks()[0].mac == Some([2, 0, 0, 0, 0, 1])
                    && devices.volumes()[0].sector_size.is_some_and(|size| size.bytes() == 32_768)
            },
        ),
        hello(
            "a device's name of 67 letters",
            |f| {
                f.list("networks", &[grant::network(&"n".repeat(67), "service", None)]);
            },
            |a| of_machine(a).devices.networks()[0].device.as_str().len() == 67,
        ),
        accept(
            "all 13 permissions",
            two,
            |s| s.forge = deep(1).permissions("admin", &(0..13).collect::<Vec<_>>(), |_| {}),
            "d1",
            |a| permissions(a) == Permissions::of(Permission::EACH),
        ),
    ];
    for bit in 0..13 {
        cases.push(accept(
            format!("permission {bit} alone"),
            none,
            |s| s.forge = Forge::root("ca root").permissions("admin", &[bit], |_| {}),
            "",
            |a| permissions(a).iter().count() == 1,
        ));
    }
    cases
}

#[test]
fn unusual_chains_that_keep_every_rule_are_accepted() {
    let cases: Vec<_> =
        [paths(), fields(), delegations(), leaves()].into_iter().flatten().collect();
    all_are_accepted(&cases);
    crate::named_apart(cases.iter().map(|case| case.name.as_str()), 40);
}

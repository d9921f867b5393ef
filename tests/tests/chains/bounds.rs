//! Rules 5 and 6: no delegation is larger than the one above it, at any depth, and none is used
//! on a server that it is not for.

use vmm_proto::chain::Fault;
use vmm_proto::resource::{Family, Misfit};
use vmm_tests::forge::grant::{self, Fields, documentation6};

use crate::case::refuse;
use crate::scene::{Case, Reason, SERVER, fault, six, two};

/// The same for each of the six delegations that has one above it.
fn at_each_depth(name: &str, change: fn(&mut Fields), reason: &Reason) -> Vec<Case> {
    let case = |depth: usize| {
        refuse(
            format!("{name}, at depth {depth}"),
            six,
            move |s| change(s.at(depth).fields()),
            reason.of(["d1", "d2", "d3", "d4", "d5", "d6"][depth - 1]),
        )
    };
    (2..=6).map(case).collect()
}

/// Alice below dev, who has the plain delegation.
fn alice(name: &str, change: fn(&mut Fields), reason: &Reason) -> Case {
    refuse(name, two, move |s| change(s.at(2).fields()), reason.of("alice"))
}

fn service(range: Option<&Fields>, range6: Option<&Fields>) -> Vec<Vec<u8>> {
    vec![grant::bridge("service", range, range6)]
}

fn v4(first: u8, last: u8, gateway: u8, prefix: u64) -> Fields {
    grant::range(&[192, 0, 2, first], &[192, 0, 2, last], &[192, 0, 2, gateway], prefix)
}

fn v6(first: u8, last: u8, gateway: u8, prefix: u64) -> Fields {
    let [first, last, gateway] = [first, last, gateway].map(documentation6);
    grant::range(&first, &last, &gateway, prefix)
}

pub(crate) fn quantities() -> Vec<Case> {
    [
        at_each_depth(
            "one machine more than the issuer",
            |f| f.number("machines", 11),
            &fault!(5, Fault::Misfit(Misfit::Number { what: "machines", asked: 11, limit: 10 })),
        ),
        at_each_depth(
            "one MiB of memory more than the issuer",
            |f| f.number("memory", 1025),
            &fault!(5, Fault::Misfit(Misfit::Number { what: "memory", asked: 1025, limit: 1024 })),
        ),
        at_each_depth(
            "one MiB of storage more than the issuer",
            |f| f.number("storage", 2049),
            &fault!(5, Fault::Misfit(Misfit::Number { what: "storage", asked: 2049, limit: 2048 })),
        ),
        at_each_depth(
            "a CPU that the issuer has not",
            |f| f.numbers("cpus", &[0, 1, 2, 3, 4]),
            &fault!(5, Fault::Misfit(Misfit::Cpu(4))),
        ),
        at_each_depth(
            "a bridge that the issuer has not",
            |f| f.list("bridges", &[grant::bridge("elsewhere", None, None)]),
            &fault!(5, Fault::Misfit(Misfit::Bridge(_))),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(crate) fn ranges() -> Vec<Case> {
    let four = fault!(5, Fault::Misfit(Misfit::Addresses { family: Family::V4, .. }));
    let six = fault!(5, Fault::Misfit(Misfit::Addresses { family: Family::V6, .. }));
    let mut cases = vec![
        alice(
            "a range that begins before the issuer's",
            |f| f.list("bridges", &service(Some(&v4(9, 99, 1, 24)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "a range that ends after the issuer's",
            |f| f.list("bridges", &service(Some(&v4(10, 100, 1, 24)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "a range beside the issuer's",
            |f| f.list("bridges", &service(Some(&v4(150, 160, 1, 24)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "another gateway than the issuer's",
            |f| f.list("bridges", &service(Some(&v4(10, 99, 2, 24)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "a longer prefix than the issuer's",
            |f| f.list("bridges", &service(Some(&v4(10, 99, 1, 25)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "a shorter prefix than the issuer's",
            |f| f.list("bridges", &service(Some(&v4(10, 99, 1, 23)), Some(&grant::range6()))),
            &four,
        ),
        alice(
            "no range where the issuer has one",
            |f| f.list("bridges", &service(None, Some(&grant::range6()))),
            &four,
        ),
        alice(
            "a range where the issuer has none",
            |f| f.list("bridges", &[grant::bridge("plain", Some(&grant::range4()), None)]),
            &four,
        ),
        alice(
            "an IPv6 range that begins before the issuer's",
            |f| f.list("bridges", &service(Some(&grant::range4()), Some(&v6(0xf, 0x99, 1, 64)))),
            &six,
        ),
        alice(
            "an IPv6 range that ends after the issuer's",
            |f| f.list("bridges", &service(Some(&grant::range4()), Some(&v6(0x10, 0x9a, 1, 64)))),
            &six,
        ),
        alice(
            "another IPv6 gateway than the issuer's",
            |f| f.list("bridges", &service(Some(&grant::range4()), Some(&v6(0x10, 0x99, 2, 64)))),
            &six,
        ),
        alice(
            "another IPv6 prefix than the issuer's",
            |f| f.list("bridges", &service(Some(&grant::range4()), Some(&v6(0x10, 0x99, 1, 96)))),
            &six,
        ),
        alice(
            "no IPv6 range where the issuer has one",
            |f| f.list("bridges", &service(Some(&grant::range4()), None)),
            &six,
        ),
        alice(
            "an IPv6 range where the issuer has none",
            |f| f.list("bridges", &[grant::bridge("plain", None, Some(&grant::range6()))]),
            &six,
        ),
    ];
    cases.push(refuse(
        "a range that the issuer's issuer has, and the issuer gave up",
        two,
        |s| {
            let mut narrow = service(Some(&v4(10, 50, 1, 24)), Some(&grant::range6()));
            narrow.push(grant::bridge("plain", None, None));
            s.at(1).fields().list("bridges", &narrow);
        },
        four.of("alice"),
    ));
    cases
}

pub(crate) fn hosts() -> Vec<Case> {
    let other = fault!(6, Fault::OtherHost);
    let mut cases = vec![
        refuse(
            "hosts that the issuer is not for",
            || {
                let mut scene = two();
                grant::hosts(scene.at(1).fields(), &[&SERVER, &[1; 32]]);
                scene
            },
            |s| grant::hosts(s.at(2).fields(), &[&SERVER, &[2; 32]]),
            fault!(5, Fault::Misfit(Misfit::Host(_))).of("alice"),
        ),
        refuse(
            "hosts widened below a delegation without hosts",
            || {
                let mut scene = six();
                grant::hosts(scene.at(2).fields(), &[&SERVER]);
                scene
            },
            |s| grant::hosts(s.at(5).fields(), &[&SERVER, &[2; 32]]),
            fault!(5, Fault::Misfit(Misfit::Host(_))).of("d5"),
        ),
    ];
    for place in [1, 2] {
        cases.push(refuse(
            format!("a delegation for another server, at {place}"),
            two,
            move |s| grant::hosts(s.at(place).fields(), &[&[1; 32]]),
            other.of(["", "dev", "alice"][place]),
        ));
        cases.push(refuse(
            format!("a delegation for 64 other servers, at {place}"),
            two,
            move |s| {
                let keys: Vec<[u8; 32]> = (0..64).map(|n| [n; 32]).collect();
                let keys: Vec<_> = keys.iter().map(|key| &key[..]).collect();
                grant::hosts(s.at(place).fields(), &keys);
            },
            other,
        ));
    }
    cases
}

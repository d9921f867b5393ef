//! Rules 3 and 4, the grant: there once, of the right kind, in canonical DER, with every field as
//! the profile's module and its comments say.

use vmm_proto::chain::Fault;
use vmm_proto::grant::GrantError;
use vmm_proto::resource::{RangeError, ResourceError};
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::extensions::{Extended, Extension, GRANT, GRANT_BASE};
use vmm_tests::forge::grant::{self, Fields, Grant, documentation6};
use vmm_tests::forge::{Forge, der};

use crate::case::refuse;
use crate::scene::{Case, Reason, at_each, fault, machine, none};

/// The grant breaks this rule of its module's comments.
macro_rules! breaks {
    ($error:pat) => {
        fault!(3, Fault::Grant(GrantError::Rule($error)))
    };
}

fn malformed() -> Reason {
    fault!(3, Fault::Grant(GrantError::Der(_) | GrantError::NotCanonical))
}

pub(crate) fn extension() -> Vec<Case> {
    let other = fault!(3, Fault::OtherGrantVersion);
    let places = [1, 2, 3];
    let mut cases: Vec<_> = [
        at_each(&places, "no grant", |c| c.drop(GRANT), &fault!(4, Fault::NoGrant)),
        at_each(&places, "a critical grant", |c| c.extension(GRANT).critical = true, &no_path()),
        at_each(
            &places,
            "the grant twice",
            |c| c.twice(GRANT),
            &fault!(3, Fault::ExtensionTwice(_)),
        ),
        at_each(
            &places,
            "two different grants",
            |c| {
                let other = Grant::Permissions(der::bits(&[1])).to_der();
                c.extensions.insert(0, Extension::raw(GRANT, false, other));
            },
            &fault!(3, Fault::ExtensionTwice(_)),
        ),
        at_each(
            &places,
            "a grant of another version",
            |c| c.extension(GRANT).oid = der::arcs(&[2, 25, GRANT_BASE[2], 2]),
            &other,
        ),
        at_each(
            &places,
            "a grant of another version beside the first",
            |c| c.add(&[2, 25, GRANT_BASE[2], 2], false, vec![5, 0]),
            &other,
        ),
        at_each(
            &[3],
            "an extension far below the suite's arc",
            |c| c.add(&[2, 25, GRANT_BASE[2], 1, 7, 9], false, vec![5, 0]),
            &other,
        ),
        at_each(
            &[3],
            "an extension of version 0",
            |c| c.add(&[2, 25, GRANT_BASE[2], 0], false, vec![]),
            &other,
        ),
        at_each(&places, "a grant without octets", |c| c.set_grant(Vec::new()), &malformed()),
        at_each(&places, "a grant that is NULL", |c| c.set_grant(vec![5, 0]), &malformed()),
        at_each(
            &places,
            "bytes behind the grant",
            |c| {
                let der = c.grant.as_ref().map(Grant::to_der).unwrap();
                c.set_grant([der, vec![5, 0]].concat());
            },
            &malformed(),
        ),
        at_each(
            &places,
            "a grant cut short",
            |c| {
                let mut der = c.grant.as_ref().map(Grant::to_der).unwrap();
                der.pop();
                c.set_grant(der);
            },
            &malformed(),
        ),
        at_each(
            &places,
            "a grant of an unknown alternative",
            |c| c.set_grant(der::tlv(der::context(3), &[7, 0x80])),
            &malformed(),
        ),
        at_each(
            &[1, 2],
            "a CA with permissions",
            |c| c.grant = Some(Grant::Permissions(der::bits(&[0]))),
            &fault!(4, Fault::LeafGrantInCa("permissions")),
        ),
        at_each(
            &[1, 2],
            "a CA with a machine",
            |c| c.grant = Some(Grant::Machine(grant::machine())),
            &fault!(4, Fault::LeafGrantInCa("machine")),
        ),
        at_each(
            &[3],
            "a leaf with a delegation",
            |c| c.grant = Some(Grant::Delegation(grant::delegation())),
            &fault!(4, Fault::DelegationInLeaf),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    cases.push(refuse(
        "a server's certificate used as a client's",
        none,
        |s| s.forge = Forge::root("ca root").server("host", &["localhost"], &[], |_| {}),
        crate::scene::no_path!(vmm_proto::chain::PathError::RequiredEkuNotFoundContext(_)),
    ));
    cases
}

/// The path verifier refuses critical extensions that it does not know.
fn no_path() -> Reason {
    crate::scene::no_path!(
        vmm_proto::chain::PathError::UnsupportedCriticalExtension
            | vmm_proto::chain::PathError::UnknownIssuer
    )
}

pub(crate) fn permissions() -> Vec<Case> {
    let wrong = fault!(3, Fault::Grant(GrantError::Permissions));
    let bits = |name, content: &'static [u8], reason: &Reason| {
        at_each(&[3], name, move |c| c.grant = Some(Grant::Permissions(content.to_vec())), reason)
    };
    let either = fault!(
        3,
        Fault::Grant(GrantError::Permissions | GrantError::NotCanonical | GrantError::Der(_))
    );
    [
        bits("permissions of no bits", &[0], &wrong),
        bits("permissions of 14 bits", &[2, 0, 4], &wrong),
        bits("permissions of 13 bits and one octet more", &[3, 0, 8, 0], &either),
        bits("permissions whose last bit is clear", &[6, 0x80], &wrong),
        bits("permissions of 13 bits, the last one clear", &[3, 0x80, 0], &wrong),
        bits("permissions with an unused bit set", &[7, 0xc0], &either),
        bits("permissions with eight unused bits", &[8, 0x80], &either),
        bits("permissions with unused bits of no octet", &[1], &either),
        bits("permissions without octets", &[], &either),
        at_each(
            &[3],
            "permissions as a constructed BIT STRING",
            |c| {
                let inner = der::tlv(der::BIT_STRING, &[7, 0x80]);
                c.set_grant(der::tlv(der::constructed(1), &inner));
            },
            &malformed(),
        ),
        at_each(
            &[3],
            "permissions with a long length",
            |c| c.set_grant(der::tlv_long(der::context(1), &[7, 0x80])),
            &malformed(),
        ),
        at_each(
            &[3],
            "permissions as a BIT STRING without its alternative",
            |c| c.set_grant(der::tlv(der::BIT_STRING, &[7, 0x80])),
            &malformed(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A change to the delegation of dev, above alice whose own is empty enough to fit anything.
fn dev(name: &str, change: fn(&mut Fields), reason: &Reason) -> Vec<Case> {
    let change = move |c: &mut Draft| change(c.fields());
    at_each(&[1], name, change, &reason.of("dev"))
}

pub(crate) fn delegation_fields() -> Vec<Case> {
    let cpus = breaks!(ResourceError::Cpus);
    [
        dev(
            "a generation of 2^63",
            |f| f.number("generation", 1 << 63),
            &fault!(3, Fault::Grant(_)),
        ),
        dev(
            "a generation of nine octets",
            |f| f.set("generation", vec![1, 0, 0, 0, 0, 0, 0, 0, 0]),
            &malformed(),
        ),
        dev("a negative generation", |f| f.set("generation", vec![0xff]), &malformed()),
        dev("a generation with a leading zero", |f| f.set("generation", vec![0, 1]), &malformed()),
        dev("a generation without octets", |f| f.set("generation", vec![]), &malformed()),
        dev("65,536 machines", |f| f.number("machines", 65_536), &malformed()),
        dev("a negative number of machines", |f| f.set("machines", vec![0x80]), &malformed()),
        dev("machines with a leading zero", |f| f.set("machines", vec![0, 10]), &malformed()),
        dev("machines with a long length", |f| f.long_length("machines"), &malformed()),
        dev("memory of 2^32 MiB", |f| f.number("memory", 1 << 32), &malformed()),
        dev("negative memory", |f| f.set("memory", vec![0xff, 0xff]), &malformed()),
        dev("storage of 2^32 MiB", |f| f.number("storage", 1 << 32), &malformed()),
        dev("storage with leading zeros", |f| f.set("storage", vec![0, 0, 8, 0]), &malformed()),
        dev("CPUs that fall", |f| f.numbers("cpus", &[1, 0, 2, 3]), &cpus),
        dev("a CPU twice", |f| f.numbers("cpus", &[0, 1, 1, 2, 3]), &cpus),
        dev("CPU 4096", |f| f.numbers("cpus", &[0, 1, 2, 3, 4096]), &cpus),
        dev("CPU 65,536", |f| f.numbers("cpus", &[0, 1, 2, 3, 65_536]), &malformed()),
        dev("a negative CPU", |f| f.list("cpus", &[der::tlv(der::INTEGER, &[0xff])]), &malformed()),
        dev(
            "a CPU with a leading zero",
            |f| f.list("cpus", &[der::tlv(der::INTEGER, &[0, 1])]),
            &malformed(),
        ),
        dev(
            "a CPU that is BOOLEAN",
            |f| f.list("cpus", &[der::tlv(der::BOOLEAN, &[0xff])]),
            &malformed(),
        ),
        dev("no generation", |f| f.drop("generation"), &malformed()),
        dev("no machines", |f| f.drop("machines"), &malformed()),
        dev("no cpus", |f| f.drop("cpus"), &malformed()),
        dev("no bridges", |f| f.drop("bridges"), &malformed()),
        dev("two generations", |f| f.twice("generation"), &malformed()),
        dev(
            "machines and memory in the wrong order",
            |f| f.swap("machines", "memory"),
            &malformed(),
        ),
        dev("memory with the tag of an INTEGER", |f| f.tag("memory", der::INTEGER), &malformed()),
        dev(
            "an unknown field behind the last",
            |f| f.push("extra", der::context(7), vec![1]),
            &malformed(),
        ),
        dev(
            "an unknown field behind hosts",
            |f| {
                grant::hosts(f, &[&[1; 32], &crate::scene::SERVER]);
                f.push("extra", der::context(7), vec![1]);
            },
            &malformed(),
        ),
        dev("no hosts in a list of hosts", |f| grant::hosts(f, &[]), &fault!(3, Fault::Grant(_))),
        dev(
            "a host key of 31 octets",
            |f| grant::hosts(f, &[&[1; 31]]),
            &fault!(3, Fault::Grant(GrantError::Octets { .. })),
        ),
        dev(
            "a host key of 33 octets",
            |f| grant::hosts(f, &[&[1; 33]]),
            &fault!(3, Fault::Grant(GrantError::Octets { .. })),
        ),
        dev(
            "a host key twice",
            |f| grant::hosts(f, &[&crate::scene::SERVER, &crate::scene::SERVER]),
            &breaks!(ResourceError::Hosts),
        ),
        dev(
            "65 host keys",
            |f| {
                let keys: Vec<[u8; 32]> = (0..65).map(|n| [n; 32]).collect();
                grant::hosts(f, &keys.iter().map(|key| &key[..]).collect::<Vec<_>>());
            },
            &breaks!(ResourceError::Hosts),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// dev with just this bridge.
fn bridge(name: &str, bridge: Vec<u8>, reason: &Reason) -> Vec<Case> {
    let change = move |c: &mut Draft| c.fields().list("bridges", std::slice::from_ref(&bridge));
    at_each(&[1], name, change, &reason.of("dev"))
}

/// dev with just this IPv4 range.
fn range(name: &str, range: &Fields, reason: &Reason) -> Vec<Case> {
    bridge(name, grant::bridge("service", Some(range), None), reason)
}

/// dev with just this IPv6 range.
fn range6(name: &str, range: &Fields, reason: &Reason) -> Vec<Case> {
    bridge(name, grant::bridge("service", None, Some(range)), reason)
}

fn v4(first: u8, last: u8, gateway: u8) -> Fields {
    grant::range(&[192, 0, 2, first], &[192, 0, 2, last], &[192, 0, 2, gateway], 24)
}

pub(crate) fn bridges() -> Vec<Case> {
    let name = breaks!(ResourceError::BridgeName(_));
    let either = fault!(3, Fault::Grant(_));
    let plain = |name: &str| grant::bridge(name, None, None);
    let octets = fault!(3, Fault::Grant(GrantError::Octets { .. }));
    let unusable = breaks!(ResourceError::Range(RangeError::Unusable(_)));
    let subnet = breaks!(ResourceError::Range(RangeError::Subnet(_)));
    let mut changed = grant::range4();
    changed.set("prefix", vec![0, 24]);
    let mut without_gateway = grant::range4();
    without_gateway.drop("gateway");
    let many: Vec<_> = (0..65).map(|n| plain(&format!("br{n}"))).collect();
    let mapped =
        |first: [u8; 16], last: [u8; 16]| grant::range(&first, &last, &documentation6(1), 64);
    let mut multicast = documentation6(0x10);
    multicast[0] = 0xff;
    let mut loopback = [0; 16];
    loopback[15] = 1;
    let mut far = documentation6(0x99);
    far[7] = 1;
    [
        bridge("a bridge without a name", Fields::none().element(der::SEQUENCE), &malformed()),
        bridge("a bridge with an empty name", plain(""), &either),
        bridge("a bridge's name of 16 letters", plain("abcdefghijklmnop"), &either),
        bridge("a bridge's name with a slash", plain("../br"), &name),
        bridge("a bridge's name that begins with a dot", plain(".br"), &name),
        bridge("a bridge's name with a NUL", plain("br\0"), &name),
        bridge("a bridge's name that is not ASCII", plain("brü"), &either),
        bridge(
            "a bridge with an unknown field",
            {
                let fields = Fields::none().and("name", der::context(0), b"service".to_vec());
                fields.and("extra", der::context(3), vec![1]).element(der::SEQUENCE)
            },
            &malformed(),
        ),
        at_each(
            &[1],
            "65 bridges",
            move |c| c.fields().list("bridges", &many),
            &breaks!(ResourceError::TooManyBridges(65)),
        ),
        at_each(
            &[1],
            "a bridge twice",
            |c| {
                let bridge =
                    grant::bridge("service", Some(&grant::range4()), Some(&grant::range6()));
                c.fields().list("bridges", &[bridge, grant::bridge("service", None, None)]);
            },
            &breaks!(ResourceError::BridgeTwice(_)),
        ),
        range(
            "a range that ends before it begins",
            &v4(99, 10, 1),
            &breaks!(ResourceError::Range(RangeError::Order)),
        ),
        range(
            "a gateway inside of the range",
            &v4(10, 99, 50),
            &breaks!(ResourceError::Range(RangeError::GatewayInside)),
        ),
        range(
            "a gateway that is the first address",
            &v4(10, 99, 10),
            &breaks!(ResourceError::Range(RangeError::GatewayInside)),
        ),
        range(
            "a gateway that is the last address",
            &v4(10, 99, 99),
            &breaks!(ResourceError::Range(RangeError::GatewayInside)),
        ),
        range("a range from the network address", &v4(0, 99, 100), &unusable),
        range("a range up to the broadcast address", &v4(10, 255, 1), &unusable),
        range("a gateway that is the broadcast address", &v4(10, 99, 255), &unusable),
        range(
            "a gateway of another subnet",
            &grant::range(&[192, 0, 2, 10], &[192, 0, 2, 99], &[192, 0, 3, 1], 24),
            &subnet,
        ),
        range(
            "a range over two subnets",
            &grant::range(&[192, 0, 2, 10], &[192, 0, 3, 99], &[192, 0, 2, 1], 24),
            &subnet,
        ),
        range(
            "a prefix of 33 bits",
            &grant::range(&[192, 0, 2, 10], &[192, 0, 2, 99], &[192, 0, 2, 1], 33),
            &breaks!(ResourceError::Range(RangeError::Prefix(33))),
        ),
        range(
            "a prefix of 256 bits",
            &grant::range(&[192, 0, 2, 10], &[192, 0, 2, 99], &[192, 0, 2, 1], 256),
            &malformed(),
        ),
        range("a prefix with a leading zero", &changed, &malformed()),
        range("a range without a gateway", &without_gateway, &malformed()),
        range(
            "the unspecified address",
            &grant::range(&[0; 4], &[0, 0, 0, 9], &[0, 0, 0, 10], 8),
            &unusable,
        ),
        range(
            "loopback addresses",
            &grant::range(&[127, 0, 0, 2], &[127, 0, 0, 9], &[127, 0, 0, 1], 8),
            &unusable,
        ),
        range(
            "multicast addresses",
            &grant::range(&[224, 0, 0, 2], &[224, 0, 0, 9], &[224, 0, 0, 1], 24),
            &unusable,
        ),
        range(
            "an address of five octets",
            &grant::range(&[192, 0, 2, 10, 0], &[192, 0, 2, 99], &[192, 0, 2, 1], 24),
            &octets,
        ),
        range(
            "an address of three octets",
            &grant::range(&[192, 0, 2], &[192, 0, 2, 99], &[192, 0, 2, 1], 24),
            &octets,
        ),
        range("IPv6 addresses in an IPv4 range", &grant::range6(), &octets),
        range6("IPv4 addresses in an IPv6 range", &grant::range4(), &octets),
        range6(
            "a prefix of 129 bits",
            &grant::range(&documentation6(2), &documentation6(9), &documentation6(1), 129),
            &breaks!(ResourceError::Range(RangeError::Prefix(129))),
        ),
        range6(
            "the IPv6 loopback address",
            &grant::range(&loopback, &documentation6(9), &documentation6(10), 0),
            &unusable,
        ),
        range6("IPv6 multicast addresses", &mapped(multicast, multicast), &unusable),
        range6("an IPv6 range over two subnets", &mapped(documentation6(0x10), far), &subnet),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A change to the machine's fields.
fn hello(name: &str, change: fn(&mut Fields), reason: &Reason) -> Case {
    refuse(name, machine, move |s| change(s.at(2).fields()), reason.of("hello"))
}

pub(crate) fn machine_fields() -> Vec<Case> {
    let either = fault!(3, Fault::Grant(_));
    let cpus = breaks!(ResourceError::Cpus);
    let size = breaks!(ResourceError::ImageSize { .. });
    let arguments = breaks!(ResourceError::Arguments);
    vec![
        hello("no CPU", |f| f.numbers("cpus", &[]), &breaks!(ResourceError::NoCpu)),
        hello("a machine's CPUs that fall", |f| f.numbers("cpus", &[1, 0]), &cpus),
        hello("a machine's CPU twice", |f| f.numbers("cpus", &[1, 1]), &cpus),
        hello("a machine's CPU 4096", |f| f.numbers("cpus", &[4096]), &cpus),
        hello("no memory", |f| f.number("memory", 0), &breaks!(ResourceError::NoMemory)),
        hello("a machine's memory of 2^32 MiB", |f| f.number("memory", 1 << 32), &malformed()),
        hello(
            "priority 101",
            |f| f.number("priority", 101),
            &breaks!(ResourceError::Priority(101)),
        ),
        hello("a negative priority", |f| f.set("priority", vec![0xff]), &malformed()),
        hello("a BOOLEAN that is neither 0 nor 255", |f| f.set("replace", vec![1]), &malformed()),
        hello("a BOOLEAN of two octets", |f| f.set("replace", vec![0, 0]), &malformed()),
        hello("no replace", |f| f.drop("replace"), &malformed()),
        hello("no restart", |f| f.drop("restart"), &malformed()),
        hello(
            "an unknown field in a machine",
            |f| f.push("extra", der::context(9), vec![1]),
            &malformed(),
        ),
        hello(
            "an image of an unknown alternative",
            |f| f.set("image", der::tlv(der::context(2), &[])),
            &malformed(),
        ),
        hello(
            "two images",
            |f| {
                let image = grant::by_digest(&[7; 32], 4096);
                f.set("image", [image.clone(), image].concat());
            },
            &malformed(),
        ),
        hello(
            "an image without its alternative",
            |f| f.set("image", der::tlv(der::OCTET_STRING, &[7; 32])),
            &malformed(),
        ),
        hello(
            "a digest of 31 octets",
            |f| f.set("image", grant::by_digest(&[7; 31], 4096)),
            &fault!(3, Fault::Grant(GrantError::Octets { .. })),
        ),
        hello(
            "a digest of 33 octets",
            |f| f.set("image", grant::by_digest(&[7; 33], 4096)),
            &fault!(3, Fault::Grant(GrantError::Octets { .. })),
        ),
        hello("a named image of 0 bytes", |f| f.set("image", grant::by_digest(&[7; 32], 0)), &size),
        hello(
            "a named image of 1 GiB and a byte",
            |f| f.set("image", grant::by_digest(&[7; 32], (1 << 30) + 1)),
            &size,
        ),
        hello(
            "an embedded image of 0 bytes",
            |f| f.set("image", grant::embedded(0, 0, b"")),
            &size,
        ),
        hello(
            "an embedded image of 16 MiB and a byte",
            |f| f.set("image", grant::embedded(1, (16 << 20) + 1, b"zstd")),
            &size,
        ),
        hello(
            "an embedded image that is longer than it says",
            |f| f.set("image", grant::embedded(0, 3, b"data")),
            &breaks!(ResourceError::EmbeddedSize { said: 3, found: 4 }),
        ),
        hello(
            "an embedded image in an unknown encoding",
            |f| f.set("image", grant::embedded(2, 4, b"data")),
            &malformed(),
        ),
        hello(
            "64 networks",
            |f| {
                let networks: Vec<_> =
                    (0..64).map(|n| grant::network(&format!("net{n}"), "service", None)).collect();
                f.list("networks", &networks);
            },
            &breaks!(ResourceError::TooManyDevices(64)),
        ),
        hello(
            "32 networks and 32 volumes",
            |f| {
                let networks: Vec<_> =
                    (0..32).map(|n| grant::network(&format!("net{n}"), "service", None)).collect();
                let volumes: Vec<_> =
                    (0..32).map(|n| grant::volume(&format!("vol{n}"), "data", None)).collect();
                f.list("networks", &networks);
                f.list("volumes", &volumes);
            },
            &breaks!(ResourceError::TooManyDevices(64)),
        ),
        hello(
            "a network device twice",
            |f| {
                let network = grant::network("net", "service", None);
                f.list("networks", &[network.clone(), network]);
            },
            &breaks!(ResourceError::DeviceTwice(_)),
        ),
        hello(
            "a network and a volume of one name",
            |f| {
                f.list("networks", &[grant::network("dev0", "service", None)]);
                f.list("volumes", &[grant::volume("dev0", "data", None)]);
            },
            &breaks!(ResourceError::DeviceTwice(_)),
        ),
        hello(
            "a device without a name",
            |f| f.list("networks", &[grant::network("", "service", None)]),
            &either,
        ),
        hello(
            "a device's name with a hyphen",
            |f| f.list("networks", &[grant::network("net-0", "service", None)]),
            &breaks!(ResourceError::DeviceName(_)),
        ),
        hello(
            "a device's name of 68 letters",
            |f| f.list("networks", &[grant::network(&"n".repeat(68), "service", None)]),
            &either,
        ),
        hello(
            "a network on a bridge with a slash",
            |f| f.list("networks", &[grant::network("net", "a/b", None)]),
            &breaks!(ResourceError::BridgeName(_)),
        ),
        hello(
            "a multicast MAC address",
            |f| {
                f.list(
                    "networks",
                    &[grant::network("net", "service", Some(&[1, 0, 0x5e, 0, 0, 1]))],
                );
            },
            &breaks!(ResourceError::Mac),
        ),
        hello(
            "the broadcast MAC address",
            |f| f.list("networks", &[grant::network("net", "service", Some(&[0xff; 6]))]),
            &breaks!(ResourceError::Mac),
        ),
        hello(
            "a MAC address of five octets",
            |f| f.list("networks", &[grant::network("net", "service", Some(&[2; 5]))]),
            &fault!(3, Fault::Grant(GrantError::Octets { .. })),
        ),
        hello(
            "a volume's name that is a path",
            |f| f.list("volumes", &[grant::volume("vol", "../x", None)]),
            &breaks!(ResourceError::Volume(_)),
        ),
        hello(
            "a volume's name in upper case",
            |f| f.list("volumes", &[grant::volume("vol", "Data", None)]),
            &breaks!(ResourceError::Volume(_)),
        ),
        hello(
            "a volume's name of 64 letters",
            |f| f.list("volumes", &[grant::volume("vol", &"v".repeat(64), None)]),
            &either,
        ),
        hello(
            "sectors of 1000 bytes",
            |f| f.list("volumes", &[grant::volume("vol", "data", Some(1000))]),
            &breaks!(ResourceError::SectorSize(1000)),
        ),
        hello(
            "sectors of 256 bytes",
            |f| f.list("volumes", &[grant::volume("vol", "data", Some(256))]),
            &breaks!(ResourceError::SectorSize(256)),
        ),
        hello(
            "sectors of 64 KiB",
            |f| f.list("volumes", &[grant::volume("vol", "data", Some(65_536))]),
            &breaks!(ResourceError::SectorSize(65_536)),
        ),
        hello("257 arguments", |f| grant::arguments(f, &["a"; 257]), &arguments),
        hello("an argument with a line's end", |f| grant::arguments(f, &["a\nb"]), &arguments),
        hello("an argument with a NUL", |f| grant::arguments(f, &["a\0b"]), &arguments),
        hello(
            "an argument with a C1 control character",
            |f| grant::arguments(f, &["a\u{9b}b"]),
            &arguments,
        ),
        hello(
            "an argument of 8192 bytes",
            |f| grant::arguments(f, &[&"a".repeat(8192)]),
            &arguments,
        ),
        hello(
            "arguments of 8192 bytes when joined",
            |f| grant::arguments(f, &["a".repeat(4096).as_str(), &"b".repeat(4095)]),
            &arguments,
        ),
        hello(
            "an argument that is not UTF-8",
            |f| f.list("arguments", &[der::tlv(der::UTF8_STRING, &[0xc3, 0x28])]),
            &malformed(),
        ),
        hello(
            "an argument as PrintableString",
            |f| f.list("arguments", &[der::tlv(der::PRINTABLE_STRING, b"a")]),
            &malformed(),
        ),
        hello(
            "a restart code twice",
            |f| f.set("restart", grant::on_failure(&[1, 2, 1], 0)),
            &breaks!(ResourceError::RestartCodes),
        ),
        hello("restart code 256", |f| f.set("restart", grant::on_failure(&[256], 0)), &malformed()),
        hello(
            "65,536 restarts",
            |f| f.set("restart", grant::on_failure(&[], 65_536)),
            &malformed(),
        ),
        hello(
            "a NULL with content",
            |f| f.set("restart", der::tlv(der::context(0), &[0])),
            &malformed(),
        ),
        hello(
            "a restart of an unknown alternative",
            |f| f.set("restart", der::tlv(der::context(3), &[])),
            &malformed(),
        ),
    ]
}

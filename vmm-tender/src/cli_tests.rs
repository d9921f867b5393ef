use vmm_tender_abi::DeviceName;

use super::*;
use crate::devices::options::{BlockSource, InterfaceName, MacAddress, Mtu, NetSource};

fn parse(words: &str) -> Result<Command, Error> {
    let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    super::parse(&words)
}

fn run(words: &str) -> RunOptions {
    match parse(words) {
        Ok(Command::Run(options)) => options,
        other => panic!("{other:?}"),
    }
}

fn refused(words: &str) -> String {
    parse(words).unwrap_err().to_string()
}

#[test]
fn options_stand_before_or_behind_the_image() {
    let expected = run("run --mem 64 --new-session a.spt --status @4 -- x y");
    assert_eq!(run("run a.spt --mem=64 --status=@4 --new-session -- x y"), expected);
    assert_eq!(expected.image, ImageSource::Path("a.spt".into()));
    assert_eq!((expected.memory_mib, expected.new_session), (64, true));
    let words = ["x", "y"].map(OsString::from);
    assert_eq!(expected.command_line, CommandLine::join(words).unwrap());
}

#[test]
fn the_network_ring_is_offered_unless_it_is_turned_off() {
    assert!(run("run a").net_ring && run("run a -- --no-net-ring").net_ring);
    assert!(!run("run --no-net-ring a").net_ring);
}

#[test]
fn what_follows_two_dashes_is_the_guests() {
    let options = run("run a.spt -- --mem 1 --status @9 --");
    assert_eq!(options.memory_mib, DEFAULT_MEMORY_MIB);
    let words = ["--mem", "1", "--status", "@9", "--"].map(OsString::from);
    assert_eq!(options.command_line, CommandLine::join(words).unwrap());
}

#[test]
fn images_can_be_descriptors() {
    let descriptor = DescriptorNumber::parse("@7").unwrap().unwrap();
    assert_eq!(run("run @7").image, ImageSource::Descriptor(descriptor));
    assert_eq!(
        parse("inspect @7 --format json").unwrap(),
        Command::Inspect(InspectOptions {
            image: ImageSource::Descriptor(descriptor),
            format: Format::Json
        })
    );
}

#[test]
fn nonsense_is_refused_with_its_reason() {
    for (words, reason) in [
        ("", "run or inspect"),
        ("walk a", "unknown command"),
        ("run", "wants an IMAGE"),
        ("run a b", "IMAGE is given twice"),
        ("run a --mem", "--mem wants a value"),
        ("run a --mem 0", "--mem wants a number"),
        ("run a --mem +1", "--mem wants a number"),
        ("run a --mem 12x", "--mem wants a number"),
        ("run a --mem 99999999999999999999", "--mem wants a number"),
        ("run a --status 4", "--status wants @N"),
        ("run a --kvm 4", "--kvm wants @N"),
        ("run a --kvm @4 --kvm @5", "--kvm is given twice"),
        ("run @4 --kvm @4", "same descriptor @4"),
        ("run a --status @4 --status @5", "--status is given twice"),
        ("run @4 --status @4", "same descriptor @4"),
        ("run a --status @4 --net n=@4", "same descriptor @4"),
        ("run @5 --net n=@4 --block b=@5", "same descriptor @5"),
        ("run a --net:service=tap0", "unknown option"),
        ("run a --net tap0", "--net wants NAME=VALUE"),
        ("run a --net a-b=tap0", "NAME has 1 to 67 letters and digits"),
        ("run a --net n=", "1 to 15"),
        ("run a --net n=a-16-bytes-long-", "1 to 15"),
        ("run a --net n=@2", "names no descriptor"),
        ("run a --net n=tap0 --net n=tap1", "--net n is given twice"),
        ("run a --net-mac n=02:00:00:00:00:01", "without --net n"),
        ("run a --net n=tap0 --net-mac n=1", "aa:bb:cc:dd:ee:ff"),
        ("run a --net n=tap0 --net-mac n=01:00:00:00:00:01", "that of a group"),
        ("run a --net-mtu n=1500", "without --net n"),
        ("run a --net n=tap0 --net-mtu n=67", "a number of bytes from 68 to 65521"),
        ("run a --net n=tap0 --net-mtu n=1400 --net-mtu n=1400", "--net-mtu n is given twice"),
        ("run a --block b", "--block wants NAME=VALUE"),
        ("run a --block b=", "--block b wants a path"),
        ("run a --block b=x --block b=y", "--block b is given twice"),
        ("run a --block-sector-size b=512", "without --block b"),
        ("run a --block b=x --block-sector-size b=1000", "power of two"),
        ("run a --block b=x --block-sector-size b=65536", "power of two"),
        ("run -v", "unknown option"),
        ("inspect a --format yaml", "text or json"),
        ("inspect a --mem 4", "unknown option"),
    ] {
        let message = refused(words);
        assert!(message.contains(reason), "{words}: {message}");
    }
}

#[test]
fn the_status_descriptor_is_found_even_if_the_rest_is_nonsense() {
    let find = |words: &str| {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        status_descriptor(&words).map(|number| number.to_string())
    };
    assert_eq!(find("run --nonsense --status @5"), Some("@5".into()));
    assert_eq!(find("run --status=@5 a b c"), Some("@5".into()));
    assert_eq!(find("run a -- --status @5"), None);
    assert_eq!(find("run a --status 5"), None);
}

#[test]
fn devices_are_attached_by_name_and_their_properties_in_any_order() {
    let options =
        run("run a --net-mac n=02:00:00:00:00:01 --net n=tap0 --net=m=@7 --net-mtu=m=9000 \
        --block-sector-size=b=4096 --block b=dir/a=b --block c=@8");
    let name = |text| DeviceName::new(text).unwrap();
    let nets: Vec<_> = options.devices.nets.iter().map(|net| (net.name, net.mac)).collect();
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    assert_eq!(nets, [(name("n"), Some(mac)), (name("m"), None)]);
    let mtus = options.devices.nets.iter().map(|net| net.mtu.map(Mtu::bytes));
    assert!(mtus.eq([None, Some(9000)]));
    let interface = InterfaceName::new("tap0").unwrap();
    assert_eq!(options.devices.nets[0].source, NetSource::Interface(interface));
    let descriptors: Vec<_> = options.devices.descriptors().map(|it| it.to_string()).collect();
    assert_eq!(descriptors, ["@7", "@8"]);
    let blocks = options.devices.blocks.iter().map(|it| (it.name, it.sector_size.bytes()));
    assert!(blocks.eq([(name("b"), 4096), (name("c"), 512)]));
    assert_eq!(options.devices.blocks[0].source, BlockSource::Path("dir/a=b".into()));
}

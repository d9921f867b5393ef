use clap::Parser;
use vmm_proto::permission::Permission::{
    Console, Create, Destroy, Info, Log, Power, Replace, Statistics,
};
use vmm_proto::resource::{Arguments, Devices, Encoding, Restart};

use super::*;
use crate::options::Cli;

fn command(words: &[&str]) -> Command {
    Cli::try_parse_from(["vmm-client"].iter().chain(words)).unwrap().command.unwrap()
}

fn plan(words: &[&str]) -> Plan {
    Plan::of(command(words), &Speaker::Issuer, 10_000).unwrap()
}

fn image() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"image").unwrap();
    file
}

fn machine(image: Image) -> Speaker {
    let machine = Machine {
        image,
        memory_mib: 1,
        cpus: [1].into_iter().collect(),
        devices: Devices::default(),
        arguments: Arguments::default(),
        restart: Restart::Never,
        replace: false,
        priority: 50,
    };
    Speaker::Machine(Box::new(machine))
}

#[test]
fn a_command_asks_for_the_permission_that_it_needs_and_no_other() {
    let file = image();
    let path = file.path().to_str().unwrap();
    let run = ["run", "hello", path, "--memory", "512", "--cpu", "1"];
    for (words, needs) in [
        (&["info"][..], &[Info][..]),
        (&["quota"], &[Info]),
        (&["attach", "x"], &[Console]),
        (&["detach", "x"], &[Console]),
        (&["statistics"], &[Statistics]),
        (&["log"], &[Log]),
        (&["start", "x"], &[Power]),
        (&["stop", "x"], &[Power]),
        (&["restart", "x"], &[Power]),
        (&["destroy", "x"], &[Destroy]),
        (&run, &[Create]),
        (&[&run[..], &["--attach"]].concat(), &[Create, Console]),
        (&[&run[..], &["--replace"]].concat(), &[Create, Replace]),
        (&[&["why"], &run[..], &["--replace"]].concat(), &[Info, Create, Replace]),
        (&["why", "start", "x"], &[Info, Power]),
    ] {
        let expected = Permissions::of(needs.iter().copied());
        assert_eq!(plan(words).needs, expected, "{words:?}");
    }
}

#[test]
fn a_described_machine_names_its_image_by_digest() {
    let file = image();
    let path = file.path().to_str().unwrap();
    let plan =
        plan(&["run", "hello", path, "--memory", "512", "--cpu", "1", "--attach", "--", "--x=1"]);
    let Request::Deploy { described: Some(described), attach: true, .. } = plan.request else {
        panic!("{plan:?}")
    };
    assert_eq!(described.name, "hello");
    let Grant::Machine(machine) = Grant::from_der(&described.grant).unwrap() else { panic!() };
    let (sha256, size) = vmm_ca::image::digest(file.path()).unwrap();
    assert_eq!(machine.image, Image::Digest { sha256, size });
    assert_eq!((machine.memory_mib, machine.arguments.words()), (512, &["--x=1".to_owned()][..]));
    assert_eq!(plan.image, ImageSource::File(file.path().to_owned(), 5));
}

#[test]
fn an_image_that_was_not_signed_is_refused_before_anything_is_sent() {
    let file = image();
    let deploy = || command(&["deploy", "--image", file.path().to_str().unwrap()]);
    let (sha256, size) = vmm_ca::image::digest(file.path()).unwrap();
    let signed = machine(Image::Digest { sha256, size });
    let plan = Plan::of(deploy(), &signed, 0).unwrap();
    assert_eq!(plan.image, ImageSource::File(file.path().to_owned(), 5));
    for other in
        [Image::Digest { sha256: Digest([0; 32]), size }, Image::Digest { sha256, size: size + 1 }]
    {
        let failure = Plan::of(deploy(), &machine(other), 0).unwrap_err();
        assert_eq!(failure.code.exit(), 2);
        assert!(failure.to_string().contains("not the image that was signed"), "{failure}");
    }
}

#[test]
fn an_image_need_not_be_given_when_the_server_may_have_it() {
    let named = machine(Image::Digest { sha256: Digest([7; 32]), size: 9 });
    let plan = Plan::of(command(&["deploy"]), &named, 0).unwrap();
    assert_eq!(plan.image, ImageSource::NotGiven(Digest([7; 32]), 9));
    let embedded =
        machine(Image::Embedded { encoding: Encoding::Identity, size: 1, data: vec![1] });
    let plan = Plan::of(command(&["deploy"]), &embedded, 0).unwrap();
    assert_eq!(plan.image, ImageSource::Nowhere);
}

#[test]
fn an_embedded_image_may_be_given_again_and_no_other_one() {
    let file = image();
    let deploy = || command(&["deploy", "--image", file.path().to_str().unwrap()]);
    let embedded =
        |data: Vec<u8>| machine(Image::Embedded { encoding: Encoding::Identity, size: 5, data });
    let plan = Plan::of(deploy(), &embedded(b"image".to_vec()), 0).unwrap();
    assert_eq!(plan.image, ImageSource::Nowhere);
    let other = Plan::of(deploy(), &embedded(b"other".to_vec()), 0).unwrap_err();
    assert!(other.to_string().contains("leave out --image"), "{other}");
    assert_eq!(other.code.exit(), 2);
}

#[test]
fn only_a_machine_can_be_deployed() {
    for speaker in [Speaker::Local, Speaker::Issuer, Speaker::Permissions] {
        let failure = Plan::of(command(&["deploy"]), &speaker, 0).unwrap_err();
        assert!(failure.to_string().contains("run NAME IMAGE"), "{failure}");
    }
}

#[test]
fn a_file_that_is_no_revocation_list_is_a_usage_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no list").unwrap();
    for (path, what) in [
        (file.path().to_str().unwrap(), "it must begin with a certificate revocation list"),
        ("missing.crl", "No such file"),
    ] {
        let failure = Plan::of(command(&["revoke", path]), &Speaker::Local, 0).unwrap_err();
        assert_eq!(failure.code.exit(), 2);
        assert!(failure.to_string().contains(what), "{failure}");
    }
}

#[test]
fn a_console_is_read_from_where_it_was_said() {
    let start = |words: &[&str]| match plan(words).request {
        Request::Attach { start, follow, .. } => (start, follow),
        other => panic!("{other:?}"),
    };
    assert_eq!(start(&["attach", "x"]), (ConsoleStart::Position(0), true));
    assert_eq!(start(&["attach", "x", "--count", "5"]), (ConsoleStart::Lines(5), true));
    let since = start(&["attach", "x", "--since", "3s", "--no-follow"]);
    assert_eq!(since, (ConsoleStart::Since(7000), false));
}

#[test]
fn a_timeout_is_sent_in_milliseconds() {
    let stop = plan(&["stop", "x", "--timeout", "3"]).request;
    assert_eq!(stop, Request::Stop { name: "x".to_owned(), timeout_ms: Some(3000) });
    let restart = plan(&["restart", "x"]).request;
    assert_eq!(restart, Request::Restart { name: "x".to_owned(), timeout_ms: None });
}

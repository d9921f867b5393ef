use super::*;

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
        ("run a --status @4 --status @5", "--status is given twice"),
        ("run @4 --status @4", "same descriptor"),
        ("run a --net service=tap0", "unknown option"),
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

//! Programs in the place of `nft`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::net::tests::take_turn;

/// A program that does this. It is written by another process: none that is started here by another
/// test holds it open for writing, which would keep it from being run.
fn doing(script: &str) -> (TempDir, PathBuf) {
    take_turn();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nft");
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat >\"$1\" && chmod 700 \"$1\"", "sh"])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("#!/bin/sh\n{script}\n");
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    (dir, path)
}

/// What comes of it when it is asked for tables.
fn asked(script: &str, patience: Duration) -> (Result<Vec<Table<'static>>, Error>, TempDir) {
    let (dir, path) = doing(script);
    (Nft::of(vec![path], patience).tables("ip"), dir)
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn one_that_does_not_end_is_killed_and_nobody_waits_for_it() {
    let before = Instant::now();
    let script = "echo $$ >\"${0%/*}/pid\"; exec sleep 1000";
    // On a host that is very slow, it may be killed before it has said who it is.
    let pid = [1, 8, 64].into_iter().find_map(|patience| {
        let (result, dir) = asked(script, Duration::from_secs(patience));
        assert!(matches!(result, Err(Error::Late(_))), "{result:?}");
        fs::read_to_string(dir.path().join("pid")).ok().filter(|pid| pid.ends_with('\n'))
    });
    assert!(before.elapsed() < Duration::from_secs(500));
    let pid = pid.expect("it has begun");
    assert!(!fs::exists(format!("/proc/{}", pid.trim())).unwrap(), "it is there still");
}

#[test]
fn why_it_refuses_is_shown_as_far_as_a_terminal_bears_it() {
    let script = "printf 'Error: no\\n\\033[31m\\377 such' >&2; exit 1";
    let text = asked(script, MINUTE).0.unwrap_err().to_string();
    assert_eq!(text, "nft refuses: Error: no \\u{1b}[31m\\u{fffd} such");
    let script = "i=0; while [ $i -lt 9000 ]; do echo no; i=$((i+1)); done >&2; exit 1";
    let text = asked(script, MINUTE).0.unwrap_err().to_string();
    assert!(text.len() < 2 * COMPLAINT_MAX && text.contains("no no no"), "{text}");
    assert_eq!(asked("exit 3", MINUTE).0.unwrap_err().to_string(), "nft refuses: exit status: 3");
}

#[test]
fn what_has_no_end_or_makes_no_sense_is_no_answer() {
    assert!(matches!(asked("exec yes", MINUTE).0, Err(Error::Endless)));
    assert!(matches!(asked("echo '{'", MINUTE).0, Err(Error::Nonsense(_))));
    let none = Nft::of(vec!["/nowhere/nft".into()], MINUTE).tables("ip");
    assert!(none.unwrap_err().to_string().contains("the package nftables"));
}

#[test]
fn a_long_order_arrives_whole() {
    let (dir, path) = doing("exec cat >\"${0%/*}/order\"");
    let name = "x".repeat(1 << 20);
    let table = Table { family: NfFamily::IP, name: name.clone().into(), handle: None };
    let order = vec![NfCmd::Add(NfListObject::Table(table))];
    Nft::of(vec![path], MINUTE).change(order).unwrap();
    assert!(fs::read_to_string(dir.path().join("order")).unwrap().contains(&name));
}

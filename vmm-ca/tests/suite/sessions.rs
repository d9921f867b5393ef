//! Recorded sessions: `tests/sessions/*.txt` hold command lines and everything that they printed.
//!
//! `RECORD_SESSIONS=1 cargo test -p vmm-ca --test suite` records them anew, for `git diff` to
//! show. Beside `$ vmm-ca …` there is `$ write FILE TEXT`, `$ remove FILE`, `$ days N` (the clock
//! goes on by N days) and `$ answer TEXT` (what is typed when the next command asks). What is random
//! stands as `<hex>`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::desk::Desk;

#[test]
fn every_recorded_session_happens_again() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
    let record = std::env::var_os("RECORD_SESSIONS").is_some();
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let expected = fs::read_to_string(&path).unwrap();
        let found = play(&expected);
        if record {
            fs::write(&path, found).unwrap();
        } else {
            assert!(found == expected, "{}: now it is\n{found}", path.display());
        }
        count += 1;
    }
    assert_eq!(count, 6, "the sessions that are known here");
}

/// Runs the commands of a session and writes down what happens. Comments stay as they are.
fn play(session: &str) -> String {
    let mut desk = Desk::new();
    let mut answer: Option<String> = None;
    let mut found = String::new();
    for line in session.lines().filter(|line| line.starts_with("$ ") || line.starts_with('#')) {
        if line.starts_with('#') {
            writeln!(found, "{line}").unwrap();
            continue;
        }
        writeln!(found, "{line}").unwrap();
        let (command, rest) = line[2..].split_once(' ').unwrap();
        match command {
            "vmm-ca" => {
                let outcome = desk.run_with(rest, answer.take().as_deref());
                let place = desk.path("").display().to_string();
                for text in [outcome.out, outcome.err] {
                    found.push_str(&masked(&text.replace(&place, "")));
                }
                if found.ends_with("[y/N] ") {
                    found.push('\n');
                }
                writeln!(found, "=> {}", outcome.exit as u8).unwrap();
            }
            "write" => {
                let (file, text) = rest.split_once(' ').unwrap();
                desk.write(file, text);
            }
            "remove" => desk.remove(rest),
            "days" => desk.now += 86_400 * rest.parse::<i64>().unwrap(),
            "answer" => answer = Some(format!("{rest}\n")),
            other => panic!("no such command in a session: {other}"),
        }
        found.push('\n');
    }
    found
}

/// Serial numbers, digests and key ids are random.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        masked.push_str(if run.len() >= 32 { "<hex>" } else { &run });
        run.clear();
        if c != '\0' {
            masked.push(c);
        }
    }
    masked
}

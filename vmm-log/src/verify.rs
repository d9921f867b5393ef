//! Checking the chain.

use std::fs::File;
use std::io;
use std::process::ExitCode;

use anyhow::Context;
use vmm_service::dirs::Dirs;

use crate::chain::{FIRST, Link, Sealed};
use crate::files::Files;
use crate::lines::{Line, Lines};

/// What was found in one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines, whatever is in them.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes after the last whole line.
    pub torn: u64,
    /// The link of the last line that has one.
    pub last: Option<Link>,
    /// How many lines do not follow what is before them.
    pub breaks: u64,
    /// The number of the first such line, from 1.
    pub first_break: Option<u64>,
}

/// Checks a file whose first line follows `previous`, and shows each line that has a link to `visit`.
/// Without a `previous`, the first line counts as intact: what it follows is not known.
///
/// # Errors
/// When the file cannot be read.
pub fn file(
    file: &File,
    previous: Option<Link>,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<Found> {
    let length = file.metadata()?.len();
    let mut lines = Lines::new(file, 0, length)?;
    let mut found = Found { last: previous, ..Found::default() };
    while let Some(line) = lines.read()? {
        let sealed = match line {
            Line::Torn => break,
            Line::TooLong => None,
            Line::Whole(line) => Sealed::parse(line).inspect(|_| visit(line)),
        };
        found.lines += 1;
        let intact = sealed.is_some_and(|line| found.last.is_none_or(|last| line.follows(last)));
        if !intact {
            found.breaks += 1;
            found.first_break.get_or_insert(found.lines);
        }
        // One changed line is one break: what comes after it is held against what it claims to be.
        found.last = sealed.map(|line| line.link).or(found.last);
    }
    found.bytes = lines.offset();
    found.torn = length - found.bytes;
    Ok(found)
}

/// `vmm-log --verify`: checks all files and says what it found. The exit code is 0 when the chain is
/// intact, 1 when it is broken or cannot be checked.
pub fn command(dirs: &Dirs) -> ExitCode {
    match all(dirs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("vmm-log: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all(dirs: &Dirs) -> anyhow::Result<bool> {
    let dir = dirs.state("log")?;
    let files = Files::new(&dir).with_context(|| dir.display().to_string())?;
    let mut numbers = files.full()?;
    numbers.push(files.current());
    let mut previous = (numbers[0] == 1).then_some(FIRST);
    let (mut records, mut breaks) = (0, 0);
    for &number in &numbers {
        let name = files.name(number);
        let opened = files.open(number).with_context(|| dir.join(&name).display().to_string())?;
        if previous.is_none() {
            println!("{name}: what is before its first record was removed when it got too old");
        }
        let found = file(&opened, previous, |_| {}).with_context(|| name.clone())?;
        match found.first_break {
            None => println!("{name}: {} records, intact", found.lines),
            Some(line) => println!(
                "{name}: {} records, BROKEN in {} places, first at line {line}",
                found.lines, found.breaks
            ),
        }
        if found.torn > 0 {
            println!(
                "{name}: {} bytes of an unfinished record at its end, as a crash leaves them",
                found.torn
            );
        }
        records += found.lines;
        breaks += found.breaks;
        previous = found.last;
    }
    let verdict = if breaks == 0 { "intact" } else { "BROKEN" };
    println!("{records} records in {} files: {verdict}", numbers.len());
    if let Some(last) = previous {
        println!("newest chain value: {last}");
    }
    Ok(breaks == 0)
}

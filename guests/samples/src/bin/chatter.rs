//! Writes as much as the console takes: numbered lines of 64 bytes, `line 1 ....`, forever, or
//! N of them with `--lines=N`; then it exits with 0.
#![no_std]
#![no_main]

use core::fmt::{self, Write};

use solo5::{Arguments, console};

solo5::unikernel!(main);

const LINE: usize = 64;
const LINES_AT_ONCE: usize = 64;

fn main(arguments: Arguments) -> i32 {
    let count = arguments.number_of("--lines=").unwrap_or(u64::MAX);
    let mut page = [[b'.'; LINE]; LINES_AT_ONCE];
    let mut filled = 0;
    for number in 1..=count {
        fill(&mut page[filled], number);
        filled += 1;
        if filled == page.len() {
            console::write(page.as_flattened());
            filled = 0;
        }
    }
    console::write(page[..filled].as_flattened());
    0
}

fn fill(line: &mut [u8; LINE], number: u64) {
    line.fill(b'.');
    line[LINE - 1] = b'\n';
    let mut start = Start(line, 0);
    // Never fails: the longest number leaves room.
    let _ = write!(start, "line {number} ");
}

struct Start<'a>(&'a mut [u8; LINE], usize);

impl Write for Start<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.1 + text.len();
        self.0.get_mut(self.1..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.1 = end;
        Ok(())
    }
}

//! Console output. It is unbuffered; what becomes of it is the host's business, and the ABI does
//! not tell the guest.

use core::fmt;

use crate::target;

/// Writes `bytes` as they are.
pub fn write(bytes: &[u8]) {
    if !bytes.is_empty() {
        target::console_write(bytes);
    }
}

/// Prints formatted text without ending the line.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Prints formatted text and ends the line. A line of up to 512 bytes is written in one piece.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::print!("{}\n", format_args!($($argument)*)) };
}

#[doc(hidden)]
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut pieces = Pieces { buffer: [0; 512], len: 0 };
    // Fails only if a `Display` of the caller does, and then what it wrote is still printed.
    let _ = fmt::write(&mut pieces, arguments);
    pieces.flush();
}

/// Gathers what a format string falls into, as each write costs an exit to the host.
struct Pieces {
    buffer: [u8; 512],
    len: usize,
}

impl Pieces {
    fn flush(&mut self) {
        write(&self.buffer[..self.len]);
        self.len = 0;
    }
}

impl fmt::Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(self.buffer.len()) {
            if self.buffer.len() - self.len < piece.len() {
                self.flush();
            }
            self.buffer[self.len..self.len + piece.len()].copy_from_slice(piece);
            self.len += piece.len();
        }
        Ok(())
    }
}

//! What is found out about a guest that failed: where it was, by the symbols of its image, and
//! all of it, in a core file. The guest does not run any more, and it is hostile still: every
//! look into its memory and its image is bounded.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::stdio::stderr;
use vmm_tender_abi::hypercall::{Halt, TrapFrame};
use vmm_tender_abi::{GuestAddress, Image, Symbol, SymbolTable};

use super::stack::Text;
use super::vcpu::Vcpu;
use super::{Registers, core_file};
use crate::core_directory::CoreDirectory;
use crate::image_file::ImageFile;
use crate::memory::GuestMemory;
use crate::program::Program;
use crate::{Error, console};

/// What is kept for the end of a guest.
pub(super) struct Postmortem {
    text: Text,
    image: ImageFile,
    cores: Option<CoreDirectory>,
}

/// Where the CPU begins after a reset, which no guest can use: nothing is mapped there.
const RESET_VECTOR: u64 = 0xFFF0;

/// Where a guest was and where it probably came from, line by line, each after a line feed.
#[derive(Debug)]
pub enum Trace {
    /// Places in its memory, the first of them where it was.
    Known(Vec<Place>),
    /// On AMD processors, KVM resets a CPU that shuts down: what it held is lost.
    Reset,
}

/// A place in a guest's memory.
#[derive(Debug)]
pub struct Place {
    address: u64,
    symbol: Option<Symbol>,
}

impl Postmortem {
    pub(super) fn new(image: &Image, file: ImageFile, cores: Option<CoreDirectory>) -> Self {
        Self { text: Text::of(image), image: file, cores }
    }

    /// Of no guest, for tests.
    #[cfg(test)]
    pub(super) fn of_nothing(cores: Option<CoreDirectory>) -> Self {
        let source = crate::image_file::ImageSource::Path("/proc/self/exe".into());
        Self { text: Text::none(), image: ImageFile::open(source).unwrap(), cores }
    }

    /// The file that symbols are read from.
    pub(super) fn image(&self) -> BorrowedFd<'_> {
        self.image.as_fd()
    }

    /// The directory that a core file can be made in.
    pub(super) fn cores(&self) -> Option<&CoreDirectory> {
        self.cores.as_ref()
    }

    /// For a guest that ended itself. If it reports a trap, that is explained; if it gave up, it
    /// leaves a core file.
    ///
    /// # Errors
    /// The frame of the trap is not in memory.
    pub(super) fn of_halt(
        self,
        halt: &Halt,
        vcpu: &Vcpu,
        memory: &GuestMemory,
    ) -> Result<(), Error> {
        let trap = match halt.cookie {
            GuestAddress(0) => None,
            at => Some(TrapFrame::decode(&memory.structure(at)?)),
        };
        if let Some(trap) = &trap {
            let TrapFrame { cr2, error_code, rip, rflags, rsp, .. } = trap;
            let trace = self.trace(*rip, *rsp, memory);
            say(&format!(
                "the guest reports a trap: rip={rip:#x} rsp={rsp:#x} rflags={rflags:#x} \
                 cr2={cr2:#x} error={error_code:#x}{trace}"
            ));
        }
        if halt.status() == Halt::ABORT && self.cores.is_some() {
            match vcpu.registers() {
                Ok(registers) => self.dump(&registers, trap.as_ref(), memory),
                Err(error) => say(&format!("dumpcore: {error}")),
            }
        }
        Ok(())
    }

    /// For a guest that had to be ended: the error with all that is found out, and a core file.
    pub(super) fn of_error(self, cause: Error, vcpu: &Vcpu, memory: &GuestMemory) -> Error {
        // What ended the guest matters more than that there is no more to be said about it.
        let Ok(registers) = vcpu.registers() else { return cause };
        let trace = match registers.general.rip {
            RESET_VECTOR => Trace::Reset,
            rip => self.trace(rip, registers.general.rsp, memory),
        };
        self.dump(&registers, None, memory);
        Error::Guest { cause: Box::new(cause), registers: Box::new(registers), trace }
    }

    fn trace(&self, rip: u64, rsp: u64, memory: &GuestMemory) -> Trace {
        let mut addresses = vec![rip];
        addresses.extend(self.text.return_addresses(rsp, memory));
        // A call may be the last instruction of its function: it is what has the name.
        let calls: Vec<_> =
            addresses.iter().enumerate().map(|(at, it)| it - u64::from(at > 0)).collect();
        // Without names, addresses are what is left.
        let table = SymbolTable::find(&self.image).ok().flatten();
        let symbols = table.and_then(|table| table.resolve(&self.image, &calls).ok());
        let mut symbols = symbols.unwrap_or_default().into_iter();
        let places = addresses.into_iter().zip(calls).map(|(address, call)| {
            let mut symbol = symbols.next().flatten();
            if let Some(symbol) = &mut symbol {
                symbol.offset += address - call;
            }
            Place { address, symbol }
        });
        Trace::Known(places.collect())
    }

    fn dump(self, registers: &Registers, trap: Option<&TrapFrame>, memory: &GuestMemory) {
        let Some(cores) = self.cores else { return };
        let file = match cores.create() {
            Ok(file) => file,
            Err(error) => return say(&format!("dumpcore: {error}")),
        };
        let path = file.path().display();
        say(&format!("dumpcore: dumping guest core to: {path}"));
        match core_file::write(file.as_fd(), registers, trap, memory) {
            Ok(pages) => {
                let core_file::Pages { written, total } = pages;
                say(&format!("dumpcore: dumped {written} pages of total {total} pages"));
            }
            Err(error) => say(&format!("dumpcore: {path} is incomplete: {error}")),
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Known(places) = self else {
            return f.write_str("\n  KVM has reset the processor: what it held is lost");
        };
        for (index, Place { address, symbol }) in places.iter().enumerate() {
            let how = if index == 0 { "at" } else { "from" };
            write!(f, "\n  {how:<4} {address:#x}")?;
            if let Some(symbol) = symbol {
                write!(f, " {symbol}")?;
            }
        }
        Ok(())
    }
}

fn say(text: &str) {
    let line = format!("{}: {text}\n", Program::current().name());
    // Nobody is left to be told that nobody can be told.
    let _ = console::write_all(stderr(), line.as_bytes());
}

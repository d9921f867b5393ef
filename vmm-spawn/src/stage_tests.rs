use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::io::pread;
use vmm_proto::id::MachineId;
use vmm_proto::ring::{CAPACITY, CLAIMED, DATA, WRITTEN, decode_counter, oldest};

use super::*;
use crate::state::State;
use crate::state::place::{Fifo, Place};

struct Machine {
    _dir: tempfile::TempDir,
    place: Place,
    /// The machine's own descriptors: what keeps the bytes.
    output: std::fs::File,
    input: OwnedFd,
    reader: OwnedFd,
    scratch: Scratch,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = State::open(dir.path()).unwrap().make(MachineId([7; 16])).unwrap();
        let output = place.fifo_for_machine(Fifo::Console).unwrap().into();
        let input = place.fifo_for_machine(Fifo::Stage).unwrap();
        let reader = place.ring_to_read().unwrap();
        Self { _dir: dir, place, output, input, reader, scratch: Scratch::new().unwrap() }
    }

    /// A process that has just found the machine.
    fn process(&self) -> (Stage, Ring) {
        let fifo = |fifo| self.place.fifo(fifo).unwrap();
        let stage = Stage::go_on(fifo(Fifo::Console), fifo(Fifo::Stage)).unwrap();
        (stage, Ring::go_on(self.place.ring().unwrap()).unwrap().unwrap())
    }

    fn counter(&self, offset: u64) -> u64 {
        let mut bytes = [0; 16];
        assert_eq!(pread(&self.reader, &mut bytes, offset).unwrap(), 16);
        decode_counter(bytes).unwrap()
    }

    fn byte(&self, position: u64) -> u8 {
        let mut bytes = [0];
        pread(&self.reader, &mut bytes, DATA + position % CAPACITY).unwrap();
        bytes[0]
    }
}

fn bytes(from: u64, length: u64) -> Vec<u8> {
    (from..from + length).map(|position| u8::try_from(position % 251).unwrap()).collect()
}

#[test]
fn the_newest_bytes_are_kept_and_all_are_counted() {
    let mut machine = Machine::new();
    let (mut stage, mut ring) = machine.process();
    let mut total = 0;
    for round in 0..40 {
        for length in [1, 4095, 30_000] {
            machine.output.write_all(&bytes(total, length)).unwrap();
            total += length;
        }
        while stage.pump(TURN_MAX, &mut ring, &machine.scratch).unwrap() > 0 {}
        assert_eq!((machine.counter(CLAIMED), machine.counter(WRITTEN)), (total, total));
        assert_eq!((ring.written(), ring.rest(), stage.waiting(&ring)), (total, 0, Ok(0)));
        for position in (oldest(total)..total).step_by(97 + round) {
            assert_eq!(u64::from(machine.byte(position)), position % 251, "{position}");
        }
    }
}

#[test]
fn a_reader_is_told_and_told_again() {
    let mut machine = Machine::new();
    let (mut stage, mut ring) = machine.process();
    let mut bytes = [0; 8];
    assert_eq!(read(&*ring.grown(), &mut bytes), Err(Errno::AGAIN));
    for _ in 0..2 {
        machine.output.write_all(b"a").unwrap();
        stage.pump(TURN_MAX, &mut ring, &machine.scratch).unwrap();
    }
    assert_eq!(read(&*ring.grown(), &mut bytes), Ok(8));
    assert_eq!(read(&*ring.grown(), &mut bytes), Err(Errno::AGAIN));
}

/// Each state that a process can leave behind, made by hand.
#[test]
fn whatever_step_was_the_last_the_next_process_goes_on_from_there() {
    for (moved, in_ring, dropped) in [
        (0, 0, 0),
        (10, 0, 0),
        (10, 10, 0),
        (10, 10, 4),
        (10, 10, 10),
        // Where the scratch pipe holds less than the stage.
        (10, 6, 0),
        (10, 6, 3),
        (10, 6, 6),
    ] {
        let mut machine = Machine::new();
        machine.output.write_all(&bytes(0, 15)).unwrap();
        let (stage, mut ring) = machine.process();
        if moved > 0 {
            let flags = SpliceFlags::NONBLOCK;
            splice(&stage.console, None, &stage.taken, None, moved, flags).unwrap();
        }
        if in_ring > 0 {
            let copied =
                tee(&stage.taken, &machine.scratch.in_end, in_ring, SpliceFlags::NONBLOCK).unwrap();
            assert_eq!(copied, in_ring);
            let rest = (moved - in_ring).try_into().unwrap();
            ring.append(&machine.scratch.out_end, in_ring.try_into().unwrap(), rest).unwrap();
        }
        machine.scratch.drop_from(stage.taken.as_fd(), dropped).unwrap();
        drop((stage, ring));

        let (mut stage, mut ring) = machine.process();
        assert_eq!(ring.written() + stage.waiting(&ring).unwrap(), 15);
        while stage.pump(TURN_MAX, &mut ring, &machine.scratch).unwrap() > 0 {}
        stage.settle(&mut ring, &machine.scratch).unwrap();
        let case = (moved, in_ring, dropped);
        assert_eq!((ring.written(), machine.counter(WRITTEN)), (15, 15), "{case:?}");
        let kept: Vec<u8> = (0..15).map(|position| machine.byte(position)).collect();
        assert_eq!(kept, bytes(0, 15), "{case:?}");
    }
}

#[test]
fn a_machine_that_meddles_with_its_own_stage_gets_wrong_output_and_nothing_else() {
    let mut machine = Machine::new();
    let (mut stage, mut ring) = machine.process();
    let mut meddler = std::fs::File::from(machine.input.try_clone().unwrap());
    // It puts something in, and makes it large.
    rustix::pipe::fcntl_setpipe_size(&machine.input, 1 << 20).unwrap();
    meddler.write_all(&vec![b'x'; 900_000]).unwrap();
    for _ in 0..50 {
        machine.output.write_all(b"0123456789").unwrap();
        stage.pump(TURN_MAX, &mut ring, &machine.scratch).unwrap();
    }
    assert!(ring.written() <= 900_500);
    // It takes out what is not its own to take.
    let (mut stage, mut ring) = machine.process();
    machine.output.write_all(b"0123456789").unwrap();
    splice(&stage.console, None, &stage.taken, None, 10, SpliceFlags::NONBLOCK).unwrap();
    stage.staged += 10;
    let before = ring.written();
    let mut all = vec![0; 1 << 20];
    rustix::fs::fcntl_setfl(&machine.input, OFlags::NONBLOCK).unwrap();
    while read(&machine.input, &mut all).is_ok() {}
    stage.settle(&mut ring, &machine.scratch).unwrap();
    assert_eq!(ring.written(), before);
    machine.output.write_all(b"goes on").unwrap();
    stage.pump(TURN_MAX, &mut ring, &machine.scratch).unwrap();
    assert_eq!(ring.written(), before + 7);
}

#[test]
fn counters_that_make_no_sense_are_no_ring() {
    use vmm_proto::ring::{REST, encode_counter};

    use crate::state::place::write_at;
    let machine = Machine::new();
    let cases = [
        (WRITTEN, encode_counter(1)),
        (CLAIMED, encode_counter(CAPACITY + 1)),
        (CLAIMED, [1; 16]),
        (REST, [1; 16]),
    ];
    for (offset, bytes) in cases {
        let file = || machine.place.ring().unwrap();
        write_at(file(), &bytes, offset).unwrap();
        assert!(Ring::go_on(file()).unwrap().is_none(), "{offset}");
        write_at(file(), &encode_counter(0), offset).unwrap();
        assert!(Ring::go_on(file()).unwrap().is_some());
    }
}

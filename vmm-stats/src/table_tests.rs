use vmm_proto::message::spawn::MAX_INTERFACES;
use vmm_proto::message::stats::{FromStats, MAX_MACHINES};
use vmm_proto::message::wire;

use super::*;

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

fn running(machine: u8, pid: u32) -> Running {
    Running { machine: id(machine), pid, interfaces: 0 }
}

fn process(pid: u32, started: u64) -> Process {
    Process { pid, started, interfaces: 0 }
}

fn reading(started: u64, time_ms: u64) -> Reading {
    Reading { started, sample: Sample { time_ms, ..Sample::default() }, traffic: Vec::new() }
}

fn times(table: &Table, machine: MachineId) -> Vec<u64> {
    table.newest(machine, usize::MAX, None).samples.iter().map(|sample| sample.time_ms).collect()
}

#[test]
fn a_first_sample_is_there_from_the_beginning() {
    let mut table = Table::default();
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    assert_eq!(times(&table, id(1)), [100]);
    assert_eq!(table.running(), [(id(1), process(10, 5))]);
}

#[test]
fn a_process_with_the_same_pid_is_not_taken_for_the_machine() {
    let mut table = Table::default();
    let first = process(10, 5);
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    table.record(id(1), first, Some(reading(6, 200)));
    assert_eq!(times(&table, id(1)), [100]);
    assert_eq!(table.process(id(1)), None);
}

#[test]
fn what_was_read_of_an_earlier_process_does_not_count_for_the_next() {
    let mut table = Table::default();
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    table.watch(running(1, 11), Some(reading(7, 150))).unwrap();
    table.record(id(1), process(10, 5), None);
    assert_eq!(table.process(id(1)), Some(process(11, 7)));
    assert_eq!(times(&table, id(1)), [100, 150]);
}

#[test]
fn the_history_of_an_ended_machine_stays_until_it_is_forgotten() {
    let mut table = Table::default();
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    table.ended(id(1));
    assert!(table.running().is_empty());
    assert_eq!(times(&table, id(1)), [100]);
    table.forget(id(1));
    assert!(times(&table, id(1)).is_empty());
}

#[test]
fn a_reset_ends_everyone_and_loses_nobody_s_history() {
    let mut table = Table::default();
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    table.watch(running(2, 11), Some(reading(6, 101))).unwrap();
    table.end_all();
    table.watch(running(1, 10), Some(reading(5, 200))).unwrap();
    assert_eq!(table.running(), [(id(1), process(10, 5))]);
    assert_eq!(times(&table, id(1)), [100, 200]);
    assert_eq!(times(&table, id(2)), [101]);
}

#[test]
fn watched_again_as_it_is_a_machine_gets_no_second_sample() {
    let mut table = Table::default();
    table.watch(running(1, 10), Some(reading(5, 100))).unwrap();
    table.watch(running(1, 10), Some(reading(5, 101))).unwrap();
    assert_eq!(times(&table, id(1)), [100]);
}

#[test]
fn a_history_has_a_length() {
    let mut table = Table::default();
    let first = process(10, 5);
    table.watch(running(1, 10), Some(reading(5, 0))).unwrap();
    for time in 1..300 {
        table.record(id(1), first, Some(reading(5, time)));
    }
    assert_eq!(times(&table, id(1)), (180..300).collect::<Vec<_>>());
    let newest = table.newest(id(1), 2, Some(reading(5, 300)));
    assert_eq!(newest.samples.iter().map(|sample| sample.time_ms).collect::<Vec<_>>(), [299, 300]);
}

#[test]
fn when_full_the_first_to_end_makes_room_and_a_running_one_does_not() {
    let mut table = Table::with_capacity(2);
    table.watch(running(1, 10), Some(reading(1, 1))).unwrap();
    table.watch(running(2, 11), Some(reading(2, 2))).unwrap();
    assert_eq!(table.watch(running(3, 12), Some(reading(3, 3))), Err(Full));
    table.ended(id(2));
    table.ended(id(1));
    table.watch(running(3, 12), Some(reading(3, 3))).unwrap();
    assert!(times(&table, id(2)).is_empty());
    assert_eq!(times(&table, id(1)), [1]);
}

fn counted(packets: u64) -> Traffic {
    Traffic { received_packets: packets, ..Traffic::default() }
}

fn reading_of(started: u64, time_ms: u64, traffic: Vec<Option<Traffic>>) -> Reading {
    Reading { traffic, ..reading(started, time_ms) }
}

fn newest(table: &Table, fresh: Option<Reading>) -> Vec<Option<Traffic>> {
    table.newest(id(1), 1, fresh).traffic
}

#[test]
fn an_interface_that_has_gone_keeps_what_it_counted_last() {
    let mut table = Table::default();
    let process = Process { pid: 10, started: 5, interfaces: 2 };
    let watched = Running { interfaces: 2, ..running(1, 10) };
    table.watch(watched, Some(reading_of(5, 100, vec![Some(counted(1)), None]))).unwrap();
    assert_eq!(newest(&table, None), [Some(counted(1)), None]);
    table.record(
        id(1),
        process,
        Some(reading_of(5, 101, vec![Some(counted(3)), Some(counted(2))])),
    );
    table.record(id(1), process, Some(reading_of(5, 102, vec![None, Some(counted(4))])));
    assert_eq!(newest(&table, None), [Some(counted(3)), Some(counted(4))]);
    let fresh = reading_of(5, 103, vec![None, Some(counted(5))]);
    assert_eq!(newest(&table, Some(fresh)), [Some(counted(3)), Some(counted(5))]);
    table.record(id(1), process, None);
    assert_eq!(
        newest(&table, None),
        [Some(counted(3)), Some(counted(4))],
        "also when the machine has ended"
    );
    assert_eq!(table.interfaces(id(1)), 2);
}

#[test]
fn what_the_interfaces_of_an_earlier_process_counted_is_not_the_next_ones() {
    let mut table = Table::default();
    let watched = |pid| Running { interfaces: 2, ..running(1, pid) };
    table
        .watch(watched(10), Some(reading_of(5, 100, vec![Some(counted(7)), Some(counted(8))])))
        .unwrap();
    table.watch(watched(11), Some(reading_of(6, 200, vec![Some(counted(1)), None]))).unwrap();
    assert_eq!(newest(&table, None), [Some(counted(1)), None]);
    assert_eq!(times(&table, id(1)), [100, 200], "the history is the machine's");
}

#[test]
fn the_largest_report_fits_a_frame() {
    let most = u64::MAX;
    let sample = Sample {
        time_ms: most,
        user_us: most,
        system_us: most,
        resident: most,
        minor_faults: most,
        major_faults: most,
    };
    let carried = Traffic {
        received_packets: most,
        received_bytes: most,
        received_dropped: most,
        sent_packets: most,
        sent_bytes: most,
        sent_dropped: most,
    };
    for machines in [1, 2, 8, MAX_MACHINES] {
        for interfaces in [0, 1, MAX_INTERFACES] {
            let each = samples_each(machines, machines * interfaces, u16::MAX);
            assert!(each >= 30, "{each} of {machines} with {interfaces} interfaces");
            let measured = Measured {
                machine: id(255),
                samples: vec![sample; each],
                traffic: vec![Some(carried); interfaces],
            };
            let report = FromStats::Report(vec![measured; machines]);
            let bytes = wire::encode(&report).unwrap();
            assert_eq!(wire::decode::<FromStats>(&bytes).unwrap(), report);
        }
    }
    assert_eq!(samples_each(1, 0, u16::MAX), HISTORY + 1);
    assert_eq!(samples_each(1, 0, 3), 3);
}

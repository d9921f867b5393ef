use vmm_proto::message::stats::{FromStats, MAX_MACHINES};
use vmm_proto::message::wire;

use super::*;

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

fn reading(started: u64, time_ms: u64) -> Reading {
    Reading { started, sample: Sample { time_ms, ..Sample::default() } }
}

fn times(table: &Table, machine: MachineId) -> Vec<u64> {
    table.newest(machine, usize::MAX, None).iter().map(|sample| sample.time_ms).collect()
}

#[test]
fn a_first_sample_is_there_from_the_beginning() {
    let mut table = Table::default();
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    assert_eq!(times(&table, id(1)), [100]);
    assert_eq!(table.running(), [(id(1), Process { pid: 10, started: 5 })]);
}

#[test]
fn a_process_with_the_same_pid_is_not_taken_for_the_machine() {
    let mut table = Table::default();
    let process = Process { pid: 10, started: 5 };
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    table.record(id(1), process, Some(reading(6, 200)));
    assert_eq!(times(&table, id(1)), [100]);
    assert_eq!(table.process(id(1)), None);
}

#[test]
fn what_was_read_of_an_earlier_process_does_not_count_for_the_next() {
    let mut table = Table::default();
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    table.watch(id(1), 11, Some(reading(7, 150))).unwrap();
    table.record(id(1), Process { pid: 10, started: 5 }, None);
    assert_eq!(table.process(id(1)), Some(Process { pid: 11, started: 7 }));
    assert_eq!(times(&table, id(1)), [100, 150]);
}

#[test]
fn the_history_of_an_ended_machine_stays_until_it_is_forgotten() {
    let mut table = Table::default();
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    table.ended(id(1));
    assert!(table.running().is_empty());
    assert_eq!(times(&table, id(1)), [100]);
    table.forget(id(1));
    assert!(times(&table, id(1)).is_empty());
}

#[test]
fn a_reset_ends_everyone_and_loses_nobody_s_history() {
    let mut table = Table::default();
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    table.watch(id(2), 11, Some(reading(6, 101))).unwrap();
    table.end_all();
    table.watch(id(1), 10, Some(reading(5, 200))).unwrap();
    assert_eq!(table.running(), [(id(1), Process { pid: 10, started: 5 })]);
    assert_eq!(times(&table, id(1)), [100, 200]);
    assert_eq!(times(&table, id(2)), [101]);
}

#[test]
fn watched_again_as_it_is_a_machine_gets_no_second_sample() {
    let mut table = Table::default();
    table.watch(id(1), 10, Some(reading(5, 100))).unwrap();
    table.watch(id(1), 10, Some(reading(5, 101))).unwrap();
    assert_eq!(times(&table, id(1)), [100]);
}

#[test]
fn a_history_has_a_length() {
    let mut table = Table::default();
    let process = Process { pid: 10, started: 5 };
    table.watch(id(1), 10, Some(reading(5, 0))).unwrap();
    for time in 1..300 {
        table.record(id(1), process, Some(reading(5, time)));
    }
    assert_eq!(times(&table, id(1)), (180..300).collect::<Vec<_>>());
    let fresh = Some(Sample { time_ms: 300, ..Sample::default() });
    let newest = table.newest(id(1), 2, fresh);
    assert_eq!(newest.iter().map(|sample| sample.time_ms).collect::<Vec<_>>(), [299, 300]);
}

#[test]
fn when_full_the_first_to_end_makes_room_and_a_running_one_does_not() {
    let mut table = Table::with_capacity(2);
    table.watch(id(1), 10, Some(reading(1, 1))).unwrap();
    table.watch(id(2), 11, Some(reading(2, 2))).unwrap();
    assert_eq!(table.watch(id(3), 12, Some(reading(3, 3))), Err(Full));
    table.ended(id(2));
    table.ended(id(1));
    table.watch(id(3), 12, Some(reading(3, 3))).unwrap();
    assert!(times(&table, id(2)).is_empty());
    assert_eq!(times(&table, id(1)), [1]);
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
    for machines in [1, 2, 20, 21, MAX_MACHINES] {
        let each = samples_each(machines, u16::MAX);
        assert!(each >= 30, "{each} of {machines}");
        let report = FromStats::Report(vec![(id(255), vec![sample; each]); machines]);
        let bytes = wire::encode(&report).unwrap();
        assert_eq!(wire::decode::<FromStats>(&bytes).unwrap(), report);
    }
    assert_eq!(samples_each(1, u16::MAX), HISTORY + 1);
    assert_eq!(samples_each(1, 3), 3);
}

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use vmm_proto::message::Exit;

use super::place::{Contents, Damage, Fifo};
use super::record::RunRecord;
use super::*;
use crate::jail::Cell;
use crate::machine::{End, Report};
use crate::process::Ended;

const ID: MachineId = MachineId([0xab; 16]);

fn exited(run: u64) -> Report {
    let ended = Ended { exit: Exit::Code(3), ..Ended::UNSEEN };
    Report { run, end: End::Exited { ended, output_end: 7 } }
}

#[test]
fn a_directory_has_one_name_for_each_machine() {
    let name = ID.to_string();
    assert_eq!(machine_of(&name), Some(ID));
    for other in [name.to_uppercase(), name.replace('-', ""), format!("{name}0"), "..".into()] {
        assert_eq!(machine_of(&other), None, "{other}");
    }
}

#[test]
fn what_is_written_down_about_a_run_is_there_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let place = State::open(dir.path()).unwrap().make(ID).unwrap();
    assert_eq!(place.last().unwrap(), None);
    let record = RunRecord { run: 4, before: 0, cell: Cell::default() };
    place.begin(&record).unwrap();
    drop(place.make_birth(4).unwrap());
    drop(place.make_status(4).unwrap());
    let place = State::open(dir.path()).unwrap().place(&ID.to_string()).unwrap();
    assert_eq!(place.last().unwrap(), Some(record));
    assert_eq!(place.born(4).unwrap(), None);
    assert_eq!(place.contents().unwrap().attempts, [4, 4]);
    place.report(&exited(4)).unwrap();
    assert_eq!(place.reported(4).unwrap(), exited(4));
    let contents = Contents { ends: vec![4], ..Contents::default() };
    assert_eq!(place.contents().unwrap(), contents);
    place.acknowledge(4, true).unwrap();
    assert_eq!(place.contents().unwrap(), Contents { seen: vec![4], ..Contents::default() });
    place.forget_seen(4).unwrap();
    assert_eq!(place.contents().unwrap(), Contents::default());
}

#[test]
fn nothing_is_left_of_a_machine_that_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let place = state.make(ID).unwrap();
    place.begin(&RunRecord { run: 1, before: 0, cell: Cell::default() }).unwrap();
    place.report(&exited(1)).unwrap();
    state.remove(ID);
    assert!(state.names().unwrap().is_empty());
    assert_eq!(fs::read_dir(dir.path().join("spawn")).unwrap().count(), 1, "the host alone");
}

#[test]
fn what_is_not_of_this_program_is_set_aside_with_the_machine_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    for round in 0..2 {
        state.make(ID).unwrap();
        let machine = dir.path().join("spawn").join(ID.to_string());
        fs::write(machine.join("precious"), "kept").unwrap();
        state.remove(ID);
        let aside = dir.path().join(format!("spawn/aside/{round}/{ID}/precious"));
        assert_eq!(fs::read_to_string(aside).unwrap(), "kept");
    }
    assert!(state.names().unwrap().is_empty());
}

#[test]
fn links_and_files_of_another_kind_are_not_followed_or_opened() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let place = state.make(ID).unwrap();
    let machine = dir.path().join("spawn").join(ID.to_string());
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, vec![0; 266_240]).unwrap();
    for name in ["ring", "console", "stage"] {
        fs::remove_file(machine.join(name)).unwrap();
        symlink(&elsewhere, machine.join(name)).unwrap();
    }
    assert!(matches!(place.ring(), Err(Damage::Open(_, Errno::LOOP))));
    assert!(matches!(place.fifo(Fifo::Console), Err(Damage::Open(..))));
    for name in ["ring", "console", "stage"] {
        fs::remove_file(machine.join(name)).unwrap();
        fs::write(machine.join(name), "short").unwrap();
    }
    assert!(matches!(place.ring(), Err(Damage::Kind(_))));
    assert!(matches!(place.fifo(Fifo::Stage), Err(Damage::Kind(_))));
    fs::remove_dir_all(&machine).unwrap();
    symlink(dir.path(), &machine).unwrap();
    assert!(state.place(&ID.to_string()).is_err());
}

#[test]
fn a_directory_that_others_may_write_to_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    State::open(dir.path()).unwrap();
    let path = dir.path().join("spawn");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    let error = State::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("with mode 0700"), "{error}");
    fs::remove_dir_all(&path).unwrap();
    symlink(dir.path(), &path).unwrap();
    assert!(matches!(State::open(dir.path()), Err(Error::Foreign { .. })));
}

#[test]
fn what_another_boot_left_is_removed_and_what_nobody_knows_of_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    state.make(ID).unwrap();
    fs::write(dir.path().join("spawn/host"), "another").unwrap();
    let state = State::open(dir.path()).unwrap();
    assert!(state.familiar && state.names().unwrap().is_empty());
    state.make(ID).unwrap();
    fs::remove_file(dir.path().join("spawn/host")).unwrap();
    let mut state = State::open(dir.path()).unwrap();
    assert!(!state.familiar);
    state.begin_anew("a test").unwrap();
    assert!(state.names().unwrap().is_empty());
    assert!(dir.path().join(format!("spawn/aside/0/{ID}/ring")).exists());
    assert!(State::open(dir.path()).unwrap().familiar);
}

//! Live messages: the first byte says of which kind. What is understood can be said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmm_proto::message::wire::{self, FromWire, ToWire};
use vmm_proto::message::{Hello, client, console, log, spawn, stats};

fn check<T: FromWire + ToWire + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = wire::decode::<T>(bytes) {
        assert_eq!(wire::decode::<T>(&wire::encode(&message).unwrap()), Ok(message));
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind {
        0 => check::<client::ToServer>(bytes),
        1 => check::<client::Reply>(bytes),
        2 => check::<spawn::ToSpawn>(bytes),
        3 => check::<spawn::FromSpawn>(bytes),
        4 => check::<console::ToConsole>(bytes),
        5 => check::<console::FromConsole>(bytes),
        6 => check::<log::ToLog>(bytes),
        7 => check::<log::FromLog>(bytes),
        8 => check::<stats::ToStats>(bytes),
        9 => check::<stats::FromStats>(bytes),
        _ => check::<Hello>(bytes),
    }
});

use proptest::prelude::*;

use super::*;

/// Every network namespace has it, and anyone may ask for it.
const LOOPBACK: &str = "lo";

#[test]
fn an_interface_has_counters_and_one_that_is_not_there_has_none() {
    let mut interfaces = Interfaces::default();
    assert!(interfaces.ask(LOOPBACK).unwrap().is_some());
    assert_eq!(interfaces.ask("vm0000000000000").unwrap(), None);
    assert!(interfaces.ask(LOOPBACK).unwrap().is_some(), "and the next answer is its own");
    assert!(interfaces.traffic(LOOPBACK).is_some());
}

#[test]
fn what_the_kernel_cannot_be_asked_is_nothing_and_the_next_question_is_answered() {
    let mut interfaces = Interfaces::default();
    // Longer than a name can be.
    assert!(interfaces.ask(&"x".repeat(300)).is_err());
    assert!(!interfaces.failed);
    assert_eq!(interfaces.traffic(&"x".repeat(300)), None);
    assert!(interfaces.failed);
    assert!(interfaces.traffic(LOOPBACK).is_some());
    assert!(!interfaces.failed);
}

#[test]
fn what_the_host_sends_is_what_the_machine_receives() {
    let mut counters = Stats64::default();
    (counters.tx_packets, counters.tx_bytes, counters.tx_dropped) = (1, 2, 3);
    (counters.rx_packets, counters.rx_bytes, counters.rx_dropped) = (4, 5, 6);
    let expected = Traffic {
        received_packets: 1,
        received_bytes: 2,
        received_dropped: 3,
        sent_packets: 4,
        sent_bytes: 5,
        sent_dropped: 6,
    };
    assert_eq!(seen_by_the_machine(&counters), expected);
}

#[test]
fn the_answer_to_another_question_is_not_taken() {
    // What the kernel would say of the number 7: there is no such interface.
    let mut answer = Vec::new();
    answer.extend(36u32.to_ne_bytes());
    answer.extend(ERROR.to_ne_bytes());
    answer.extend([0; 2]);
    answer.extend(7u32.to_ne_bytes());
    answer.extend([0; 4]);
    answer.extend((-rustix::io::Errno::NODEV.raw_os_error()).to_ne_bytes());
    answer.extend([0; 16]);
    assert_eq!(understood(&answer, 7).unwrap(), None);
    assert!(understood(&answer, 8).is_err());
    assert!(understood(&answer[..19], 7).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        kind in prop_oneof![Just(ERROR), Just(NEW_LINK), any::<u16>()],
    ) {
        let _ = understood(&bytes, 1);
        let mut message = Vec::new();
        message.extend(u32::try_from(16 + bytes.len()).unwrap().to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend([0; 2]);
        message.extend(1u32.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(&bytes);
        let _ = understood(&message, 1);
    }
}

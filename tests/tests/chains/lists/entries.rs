//! The entries of a list.

use vmm_proto::chain::crl::CrlError;
use vmm_proto::revocation::MAX_SERIALS;
use vmm_tests::forge::crl::{CERTIFICATE_ISSUER, Entries, Entry, REASON};
use vmm_tests::forge::der;
use vmm_tests::forge::extensions::UNKNOWN;
use vmm_tests::forge::times::Time;

use super::scene::{Case, Reason, changed, list};

/// A list whose second entry is wrong.
fn entry(name: &str, entry: Entry, reason: Reason) -> Case {
    changed(name, move |l| l.revoke([Entry::of(&[1]), entry.clone()]), reason)
}

fn raw(name: &str, contents: Vec<u8>) -> Case {
    changed(name, move |l| l.entries = Entries::Raw(contents.clone()), list!(CrlError::Der))
}

/// So many entries of 8 octets, each another one.
pub(crate) fn many(count: usize) -> Vec<u8> {
    let entry = |number: u64| {
        let serial = (number | 1 << 62).to_be_bytes();
        let mut entry = vec![der::SEQUENCE, 25, der::INTEGER, 8];
        entry.extend(serial);
        entry.extend([der::UTC_TIME, 13]);
        entry.extend(b"260101000000Z");
        entry
    };
    (0..count as u64).flat_map(entry).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let serial = list!(CrlError::Serial);
    let time = list!(CrlError::Time);
    let reason = list!(CrlError::Extension("reasonCode"));
    let issuer = der::sequence(&[der::tlv(der::context(2), b"example")]);
    let timed = |time| Entry { time, ..Entry::of(&[2]) };
    let mut crowded = Entry::of(&[2]);
    for arc in 1..=17 {
        crowded = crowded.with(&[2, 999, arc], false, vec![5, 0]);
    }
    vec![
        entry("serial 0", Entry::of(&[0]), serial),
        entry("a negative serial", Entry::of(&[0x80, 1]), serial),
        entry("a serial of 21 octets", Entry::of(&[0x11; 21]), serial),
        entry(
            "a positive serial of 20 octets and a sign",
            Entry::of(&[&[0][..], &[0xff; 20]].concat()),
            serial,
        ),
        entry("a serial with a leading zero", Entry::of(&[0, 1]), serial),
        entry("a serial without octets", Entry::of(&[]), serial),
        entry("a date without seconds", timed(Time::utc("2601010000Z")), time),
        entry("a date with an offset", timed(Time::utc("260101000000+0100")), time),
        entry("a date in month 13", timed(Time::utc("261301000000Z")), time),
        entry("a date with fractions", timed(Time::generalized("20260101000000.5Z")), time),
        entry("removeFromCRL", Entry::of(&[2]).because(8), list!(CrlError::RemoveFromCrl)),
        entry("a reason that is not used", Entry::of(&[2]).because(7), reason),
        entry("a reason that nobody knows", Entry::of(&[2]).because(11), reason),
        entry("a negative reason", Entry::of(&[2]).because(0xff), reason),
        entry(
            "a reason of two octets",
            Entry::of(&[2]).with(REASON, false, der::tlv(der::ENUMERATED, &[0, 1])),
            reason,
        ),
        entry(
            "a reason that is an INTEGER",
            Entry::of(&[2]).with(REASON, false, der::integer(1)),
            reason,
        ),
        entry(
            "a reason with bytes behind it",
            Entry::of(&[2]).with(REASON, false, vec![der::ENUMERATED, 1, 1, 5, 0]),
            reason,
        ),
        entry(
            "two reasons",
            Entry::of(&[2]).because(1).because(4),
            list!(CrlError::ExtensionTwice(_)),
        ),
        entry(
            "a certificate of another issuer",
            Entry::of(&[2]).with(CERTIFICATE_ISSUER, true, issuer.clone()),
            list!(CrlError::Indirect),
        ),
        entry(
            "a certificate of another issuer, not critical",
            Entry::of(&[2]).with(CERTIFICATE_ISSUER, false, issuer),
            list!(CrlError::Indirect),
        ),
        entry(
            "an unknown critical extension of an entry",
            Entry::of(&[2]).with(UNKNOWN, true, vec![5, 0]),
            list!(CrlError::Critical(_)),
        ),
        entry(
            "a critical reason",
            Entry::of(&[2]).with(REASON, true, der::tlv(der::ENUMERATED, &[1])),
            list!(CrlError::Critical(_)),
        ),
        entry("seventeen extensions of an entry", crowded, list!(CrlError::TooManyExtensions)),
        entry(
            "a field behind an entry's last",
            Entry { behind: vec![5, 0], ..Entry::of(&[2]) },
            list!(CrlError::Der),
        ),
        entry(
            "an empty list of an entry's extensions",
            Entry { behind: der::sequence(&[]), ..Entry::of(&[2]) },
            list!(CrlError::Der),
        ),
        raw("an entry of nothing", der::sequence(&[])),
        raw("an entry without a date", der::sequence(&[der::integer(2)])),
        raw("an entry that is an INTEGER", der::integer(2)),
        raw("an entry that is cut off", der::sequence(&[der::integer(2)])[..3].to_vec()),
        raw(
            "an entry with a long length",
            der::tlv_long(
                der::SEQUENCE,
                &[der::integer(2), der::tlv(der::UTC_TIME, b"260101000000Z")].concat(),
            ),
        ),
        raw(
            "an entry with an indefinite length",
            der::tlv_indefinite(
                der::SEQUENCE,
                &[der::integer(2), der::tlv(der::UTC_TIME, b"260101000000Z")].concat(),
            ),
        ),
        raw("rubbish for entries", vec![0xff; 64]),
        changed(
            "2^20 entries and one",
            |l| l.entries = Entries::Raw(many(MAX_SERIALS + 1)),
            list!(CrlError::TooMany),
        ),
    ]
}

//! Rule 3, time: every certificate, the root included, may be used now.

use vmm_proto::chain::{Fault, PathError};
use vmm_tests::forge::times::Time;

use crate::case::refuse;
use crate::scene::{Case, NOW, at_each, fault, no_path, two};

pub(crate) fn cases() -> Vec<Case> {
    let below_root = [1, 2, 3];
    let mut cases = Vec::new();
    cases.extend(at_each(
        &below_root,
        "expired a second ago",
        |c| c.not_after = Time::unix(NOW - 1),
        &no_path!(PathError::CertExpired { .. }),
    ));
    cases.extend(at_each(
        &below_root,
        "valid in a second",
        |c| c.not_before = Time::unix(NOW + 1),
        &no_path!(PathError::CertNotValidYet { .. }),
    ));
    cases.extend(at_each(
        &below_root,
        "ends before it begins",
        |c| {
            c.not_before = Time::unix(NOW + 10);
            c.not_after = Time::unix(NOW - 10);
        },
        &no_path!(PathError::InvalidCertValidity),
    ));
    cases.extend(at_each(
        &[0],
        "expired a second ago",
        |c| c.not_after = Time::unix(NOW - 1),
        &fault!(3, Fault::RootNotValid { .. }),
    ));
    cases.extend(at_each(
        &[0],
        "valid in a second",
        |c| c.not_before = Time::unix(NOW + 1),
        &fault!(3, Fault::RootNotValid { .. }),
    ));
    cases.extend(at_each(
        &[0],
        "ends before it begins",
        |c| {
            c.not_before = Time::unix(NOW + 10);
            c.not_after = Time::unix(NOW - 10);
        },
        &fault!(3, Fault::RootNotValid { .. }),
    ));
    for (name, time) in [
        ("a UTCTime without seconds", Time::utc("4912312359Z")),
        ("a UTCTime with an offset", Time::utc("491231235959+0100")),
        ("a UTCTime in month 13", Time::utc("491331235959Z")),
        ("a UTCTime on 30 February", Time::utc("490230000000Z")),
        ("a UTCTime at 24 o'clock", Time::utc("491231240000Z")),
        ("a GeneralizedTime with fractions", Time::generalized("20991231235959.5Z")),
        ("a GeneralizedTime without Z", Time::generalized("20991231235959")),
        ("a GeneralizedTime with the year of a UTCTime", Time::generalized("991231235959Z")),
        ("an empty time", Time::utc("")),
    ] {
        cases.push(refuse(
            name,
            two,
            move |s| s.at(3).not_after = time.clone(),
            no_path!(PathError::BadDerTime | PathError::BadDer),
        ));
    }
    cases.push(refuse(
        "a clock before 1970, and a root from before it",
        || {
            let mut scene = two();
            scene.at(0).not_before = Time::utc("500101000000Z");
            scene
        },
        |s| s.now = -1,
        fault!(3, Fault::Clock),
    ));
    cases
}

//! Rule 3, time: every certificate, the root included, may be used now.

use vmm_proto::chain::{Fault, PathError};
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::times::Time;

use crate::case::refuse;
use crate::scene::{Case, NOW, Reason, at_each, fault, no_path, two, wrong_times};

/// The same change at the root, which is then not valid, and at each certificate below it.
fn everywhere(name: &str, change: fn(&mut Draft), below_root: &Reason) -> Vec<Case> {
    let mut cases = at_each(&[1, 2, 3], name, change, below_root);
    cases.extend(at_each(&[0], name, change, &fault!(3, Fault::RootNotValid { .. })));
    cases
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = [
        everywhere(
            "expired a second ago",
            |c| c.not_after = Time::unix(NOW - 1),
            &no_path!(PathError::CertExpired { .. }),
        ),
        everywhere(
            "valid in a second",
            |c| c.not_before = Time::unix(NOW + 1),
            &no_path!(PathError::CertNotValidYet { .. }),
        ),
        everywhere(
            "ends before it begins",
            |c| {
                c.not_before = Time::unix(NOW + 10);
                c.not_after = Time::unix(NOW - 10);
            },
            &no_path!(PathError::InvalidCertValidity),
        ),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    let wrong = wrong_times().into_iter().chain([
        ("a UTCTime at 24 o'clock", Time::utc("491231240000Z")),
        ("a GeneralizedTime with the year of a UTCTime", Time::generalized("991231235959Z")),
    ]);
    for (name, time) in wrong {
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

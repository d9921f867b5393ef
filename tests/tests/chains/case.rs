//! One case: something that is accepted, one change to it, and the reason for which it is then
//! refused; or something unusual that is accepted, and what must then be true of it.

use std::fmt::Debug;

use vmm_proto::chain::ChainError;

/// What the suite accepts or refuses as a whole.
pub(crate) trait Judged {
    /// What it finds in what it accepts.
    type Verdict: Debug;
    /// Why it does not.
    type Refusal: Blames;

    fn judge(&self) -> Result<Self::Verdict, Self::Refusal>;
}

/// A refusal, which may be the fault of one certificate.
pub(crate) trait Blames: Debug {
    /// The subject of that certificate.
    fn blamed(&self) -> Option<&str>;
}

impl Blames for ChainError {
    fn blamed(&self) -> Option<&str> {
        self.certificate.as_deref()
    }
}

/// The one reason for which a case may be refused.
pub(crate) struct Reason<R> {
    words: &'static str,
    is: fn(&R) -> bool,
    blames: Option<&'static str>,
}

// Not derived: a reason can be copied whether or not the refusal can.
impl<R> Clone for Reason<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Reason<R> {}

impl<R> Reason<R> {
    pub(crate) const fn new(words: &'static str, is: fn(&R) -> bool) -> Self {
        Self { words, is, blames: None }
    }

    /// The certificate with this subject must be named.
    pub(crate) const fn of(mut self, subject: &'static str) -> Self {
        self.blames = Some(subject);
        self
    }
}

/// A named case that is refused.
pub(crate) struct Case<S: Judged> {
    pub(crate) name: String,
    base: fn() -> S,
    change: Box<dyn Fn(&mut S)>,
    reason: Reason<S::Refusal>,
}

/// A case: `base` is accepted, and is refused for this reason once it is changed.
pub(crate) fn refuse<S: Judged>(
    name: impl Into<String>,
    base: fn() -> S,
    change: impl Fn(&mut S) + 'static,
    reason: Reason<S::Refusal>,
) -> Case<S> {
    Case { name: name.into(), base, change: Box::new(change), reason }
}

impl<S: Judged> Case<S> {
    fn failure(&self) -> Option<String> {
        let mut scene = (self.base)();
        if let Err(refusal) = scene.judge() {
            return Some(format!("refused before the change: {refusal:?}"));
        }
        (self.change)(&mut scene);
        match scene.judge() {
            Ok(_) => Some("accepted".to_owned()),
            Err(refusal) if !(self.reason.is)(&refusal) => {
                Some(format!("expected {}, found {refusal:?}", self.reason.words))
            }
            Err(refusal) => match self.reason.blames {
                Some(subject) if refusal.blamed() != Some(subject) => {
                    Some(format!("expected to blame {subject}, found {refusal:?}"))
                }
                _ => None,
            },
        }
    }
}

/// Asserts every case, and reports all that fail.
pub(crate) fn all_are_refused<S: Judged>(cases: &[Case<S>]) {
    none_fails(cases.iter().map(|case| (case.name.as_str(), case.failure())));
}

type Check<V> = Box<dyn Fn(&V) -> bool>;

/// Something with a name that is accepted, and what must be true of what is found in it.
pub(crate) struct Accepted<S: Judged> {
    pub(crate) name: String,
    scene: S,
    holds: Check<S::Verdict>,
}

/// `base` is accepted once it is changed, and this holds.
pub(crate) fn accept<S: Judged>(
    name: impl Into<String>,
    base: fn() -> S,
    change: impl FnOnce(&mut S),
    holds: impl Fn(&S::Verdict) -> bool + 'static,
) -> Accepted<S> {
    let mut scene = base();
    change(&mut scene);
    Accepted { name: name.into(), scene, holds: Box::new(holds) }
}

impl<S: Judged> Accepted<S> {
    fn failure(&self) -> Option<String> {
        match self.scene.judge() {
            Err(refusal) => Some(format!("refused: {refusal:?}")),
            Ok(found) if !(self.holds)(&found) => Some(format!("it does not hold of {found:?}")),
            Ok(_) => None,
        }
    }
}

/// Asserts every case, and reports all that fail.
pub(crate) fn all_are_accepted<S: Judged>(cases: &[Accepted<S>]) {
    none_fails(cases.iter().map(|case| (case.name.as_str(), case.failure())));
}

fn none_fails<'n>(cases: impl ExactSizeIterator<Item = (&'n str, Option<String>)>) {
    let count = cases.len();
    let failures: Vec<_> =
        cases.filter_map(|(name, failure)| Some(format!("{name}: {}", failure?))).collect();
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

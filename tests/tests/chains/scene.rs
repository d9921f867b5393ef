//! One case: a chain that is accepted, one change to it, and the reason for which it is then
//! refused.

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Authorization;
use vmm_proto::chain::{self, ChainError, Root, RootError};
use vmm_proto::id::Digest;
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::{Forge, Forged};

/// When all scenes play: 15 January 2027, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The digest of the server's key, for rule 6.
pub(crate) const SERVER: [u8; 32] = [0x5e; 32];

/// A change to the list that is presented.
type ListEdit = Box<dyn Fn(&mut Vec<Vec<u8>>, &Forged)>;

/// What a server is shown, and what it knows.
pub(crate) struct Scene {
    pub(crate) forge: Forge,
    /// The root that the server knows; `None`: the chain's own.
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) now: i64,
    list: Option<ListEdit>,
}

impl Scene {
    pub(crate) fn of(forge: Forge) -> Self {
        Self { forge, root: None, now: NOW, list: None }
    }

    /// Changes the presented list after all is signed.
    pub(crate) fn list(&mut self, edit: impl Fn(&mut Vec<Vec<u8>>, &Forged) + 'static) {
        self.list = Some(Box::new(edit));
    }

    /// The draft at a place: 0 is the root.
    pub(crate) fn at(&mut self, place: usize) -> &mut Draft {
        &mut self.forge.drafts[place]
    }

    pub(crate) fn judge(&self) -> Result<Authorization, Refusal> {
        let forged = self.forge.sign();
        let mut list = forged.chain_der();
        if let Some(edit) = &self.list {
            edit(&mut list, &forged);
        }
        judge(&list, self.root.as_deref().unwrap_or(forged.root_der()), self.now)
    }
}

/// What the suite says of a presented list.
pub(crate) fn judge(list: &[Vec<u8>], root: &[u8], now: i64) -> Result<Authorization, Refusal> {
    let root = Root::from_der(root).map_err(Refusal::Root)?;
    let list: Vec<_> = list.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    chain::authorize(&list, &root, Some(&Digest(SERVER)), now).map_err(Refusal::Chain)
}

/// Where it was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// When the server was given its root.
    Root(RootError),
    /// When the chain was presented.
    Chain(ChainError),
}

impl Refusal {
    fn blamed(&self) -> Option<&str> {
        match self {
            Self::Root(RootError::Certificate(error)) | Self::Chain(error) => {
                error.certificate.as_deref()
            }
            Self::Root(_) => None,
        }
    }
}

/// The one reason for which a case may be refused.
#[derive(Clone)]
pub(crate) struct Reason {
    pub(crate) words: &'static str,
    pub(crate) is: fn(&Refusal) -> bool,
    blames: Option<String>,
}

impl Reason {
    pub(crate) const fn new(words: &'static str, is: fn(&Refusal) -> bool) -> Self {
        Self { words, is, blames: None }
    }

    /// The certificate with this subject must be named.
    pub(crate) fn of(mut self, subject: &str) -> Self {
        self.blames = Some(subject.to_owned());
        self
    }
}

/// The server refuses the chain by a rule, with a fault.
macro_rules! fault {
    ($rule:literal, $fault:pat) => {
        $crate::scene::Reason::new(
            concat!("rule ", stringify!($rule), ", ", stringify!($fault)),
            |refusal| {
                matches!(refusal, $crate::scene::Refusal::Chain(error)
                    if error.fault.rule() == $rule && matches!(&error.fault, $fault))
            },
        )
    };
}

/// The path verifier finds no path, for this reason.
macro_rules! no_path {
    ($error:pat) => {
        $crate::scene::Reason::new(concat!("no path: ", stringify!($error)), |refusal| {
            matches!(refusal, $crate::scene::Refusal::Chain(error)
                if matches!(&error.fault, vmm_proto::chain::Fault::Path($error)))
        })
    };
}

/// The server does not take the root.
macro_rules! bad_root {
    ($error:pat) => {
        $crate::scene::Reason::new(concat!("root: ", stringify!($error)), |refusal| {
            matches!(refusal, $crate::scene::Refusal::Root($error))
        })
    };
    (fault $fault:pat) => {
        $crate::scene::Reason::new(concat!("root: ", stringify!($fault)), |refusal| {
            matches!(refusal,
                $crate::scene::Refusal::Root(vmm_proto::chain::RootError::Certificate(error))
                if matches!(&error.fault, $fault))
        })
    };
}

pub(crate) use {bad_root, fault, no_path};

/// A named chain that is refused.
pub(crate) struct Case {
    pub(crate) name: String,
    base: fn() -> Scene,
    change: Box<dyn Fn(&mut Scene)>,
    reason: Reason,
}

/// A case: `base` is accepted, and is refused for this reason once it is changed.
pub(crate) fn refuse(
    name: impl Into<String>,
    base: fn() -> Scene,
    change: impl Fn(&mut Scene) + 'static,
    reason: Reason,
) -> Case {
    Case { name: name.into(), base, change: Box::new(change), reason }
}

/// The same change at several places of [`two`], the certificate there being the one at fault.
pub(crate) fn at_each(
    places: &[usize],
    name: &str,
    change: impl Fn(&mut Draft) + Clone + 'static,
    reason: &Reason,
) -> Vec<Case> {
    let case = |place: &usize| {
        let (place, change) = (*place, change.clone());
        let label = ["ca root", "dev", "alice", "admin"][place];
        let name = format!("{name}, in {label}");
        refuse(name, two, move |scene| change(scene.at(place)), reason.clone())
    };
    places.iter().map(case).collect()
}

impl Case {
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
            Err(refusal) => match &self.reason.blames {
                Some(subject) if refusal.blamed() != Some(subject) => {
                    Some(format!("expected to blame {subject}, found {refusal:?}"))
                }
                _ => None,
            },
        }
    }
}

/// Asserts every case, and reports all that fail.
pub(crate) fn all_are_refused(cases: &[Case]) {
    let failures: Vec<_> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, case.failure()?)))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// root, `admin` with all permissions over the host.
pub(crate) fn none() -> Scene {
    Scene::of(Forge::root("ca root").permissions("admin", &[0], |_| {}))
}

/// root, `dev`, `alice`, `admin` with all permissions.
pub(crate) fn two() -> Scene {
    Scene::of(
        Forge::root("ca root").delegation("dev", |_| {}).delegation("alice", |_| {}).permissions(
            "admin",
            &[0],
            |_| {},
        ),
    )
}

/// root, `dev`, and the machine `hello`.
pub(crate) fn machine() -> Scene {
    Scene::of(Forge::root("ca root").delegation("dev", |_| {}).machine("hello", |_| {}))
}

/// root, six delegations `d1` to `d6`, `admin`.
pub(crate) fn six() -> Scene {
    Scene::of(deep(6).permissions("admin", &[0], |_| {}))
}

/// root and that many delegations, `d1` and so on.
pub(crate) fn deep(delegations: usize) -> Forge {
    (1..=delegations)
        .fold(Forge::root("ca root"), |forge, depth| forge.delegation(&format!("d{depth}"), |_| {}))
}

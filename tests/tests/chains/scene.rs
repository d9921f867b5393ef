//! What a server is shown: chains that are accepted until they are changed.

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Authorization;
use vmm_proto::chain::{self, ChainError, Root, RootError};
use vmm_proto::id::Digest;
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::extensions::{BASIC_CONSTRAINTS, Extended, basic_constraints};
use vmm_tests::forge::key::{Key, Kind};
use vmm_tests::forge::times::Time;
use vmm_tests::forge::{Forge, Forged};

use crate::case::{self, Blames, Judged, refuse};

/// A chain that is refused.
pub(crate) type Case = case::Case<Scene>;

/// Why it is.
pub(crate) type Reason = case::Reason<Refusal>;

/// When all scenes play: 15 January 2027, in Unix seconds.
pub(crate) const NOW: i64 = 1_800_000_000;

/// The digest of the server's key, for rule 6.
pub(crate) const SERVER: [u8; 32] = [0x5e; 32];

/// A change to the list that is presented.
type Edit = Box<dyn Fn(&mut Vec<Vec<u8>>, &Forged)>;

/// What a server is shown, and what it knows.
pub(crate) struct Scene {
    pub(crate) forge: Forge,
    /// The root that the server knows; `None`: the chain's own.
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) now: i64,
    edit: Option<Edit>,
}

impl Scene {
    pub(crate) fn of(forge: Forge) -> Self {
        Self { forge, root: None, now: NOW, edit: None }
    }

    /// Changes the presented list after all is signed.
    pub(crate) fn present(&mut self, edit: impl Fn(&mut Vec<Vec<u8>>, &Forged) + 'static) {
        self.edit = Some(Box::new(edit));
    }

    /// The draft at a place: 0 is the root.
    pub(crate) fn at(&mut self, place: usize) -> &mut Draft {
        &mut self.forge.drafts[place]
    }

    /// Changes each draft, that of the root too.
    pub(crate) fn each(&mut self, change: impl FnMut(&mut Draft)) {
        self.forge.drafts.iter_mut().for_each(change);
    }

    /// Gives them new keys of these kinds, from the root on.
    pub(crate) fn keys(&mut self, kinds: &[Kind]) {
        for (place, kind) in kinds.iter().enumerate() {
            self.at(place).key = Key::generate(*kind);
        }
    }

    /// Gives each of six delegations a path length that is just enough.
    pub(crate) fn path_lengths(&mut self) {
        for depth in 1..=6_usize {
            let below = 6 - depth as u64;
            self.at(depth).set(BASIC_CONSTRAINTS, basic_constraints(true, Some(below)));
        }
    }

    /// What is presented, and the root that the server knows.
    pub(crate) fn shown(&self) -> (Vec<Vec<u8>>, Vec<u8>) {
        let forged = self.forge.sign();
        let mut list = forged.chain_der();
        if let Some(edit) = &self.edit {
            edit(&mut list, &forged);
        }
        (list, self.root.clone().unwrap_or_else(|| forged.root_der().to_vec()))
    }
}

impl Judged for Scene {
    type Verdict = Authorization;
    type Refusal = Refusal;

    fn judge(&self) -> Result<Authorization, Refusal> {
        let (list, root) = self.shown();
        judge(&list, &root, self.now)
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

impl Blames for Refusal {
    fn blamed(&self) -> Option<&str> {
        match self {
            Self::Root(RootError::Certificate(error)) | Self::Chain(error) => error.blamed(),
            Self::Root(_) => None,
        }
    }
}

/// The server refuses the chain by a rule, with a fault.
macro_rules! fault {
    ($rule:literal, $fault:pat) => {
        $crate::case::Reason::new(
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
        $crate::case::Reason::new(concat!("no path: ", stringify!($error)), |refusal| {
            matches!(refusal, $crate::scene::Refusal::Chain(error)
                if matches!(&error.fault, vmm_proto::chain::Fault::Path($error)))
        })
    };
}

/// The server does not take the root.
macro_rules! bad_root {
    ($error:pat) => {
        $crate::case::Reason::new(concat!("root: ", stringify!($error)), |refusal| {
            matches!(refusal, $crate::scene::Refusal::Root($error))
        })
    };
    (fault $fault:pat) => {
        $crate::case::Reason::new(concat!("root: ", stringify!($fault)), |refusal| {
            matches!(refusal,
                $crate::scene::Refusal::Root(vmm_proto::chain::RootError::Certificate(error))
                if matches!(&error.fault, $fault))
        })
    };
}

pub(crate) use {bad_root, fault, no_path};

/// The list of [`two`] presented otherwise.
pub(crate) fn presented(
    name: impl Into<String>,
    edit: impl Fn(&mut Vec<Vec<u8>>, &Forged) + Copy + 'static,
    reason: Reason,
) -> Case {
    refuse(name, two, move |scene| scene.present(edit), reason)
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
        refuse(name, two, move |scene| change(scene.at(place)), *reason)
    };
    places.iter().map(case).collect()
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

/// Times that DER or the profile does not know, in whatever field.
pub(crate) fn wrong_times() -> [(&'static str, Time); 7] {
    [
        ("a UTCTime without seconds", Time::utc("4912312359Z")),
        ("a UTCTime with an offset", Time::utc("491231235959+0100")),
        ("a UTCTime in month 13", Time::utc("491331235959Z")),
        ("a UTCTime on 30 February", Time::utc("490230000000Z")),
        ("a GeneralizedTime with fractions", Time::generalized("20991231235959.5Z")),
        ("a GeneralizedTime without Z", Time::generalized("20991231235959")),
        ("an empty time", Time::utc("")),
    ]
}

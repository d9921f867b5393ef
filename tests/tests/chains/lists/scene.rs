//! One case: a list that is taken, one change to it, and the reason for which it is then refused.

use rustls_pki_types::CertificateDer;
use vmm_proto::chain::Root;
use vmm_proto::chain::crl::{CrlAuthority, CrlError, authorize_crl};
use vmm_proto::id::Digest;
use vmm_tests::forge::certificate::Draft;
use vmm_tests::forge::crl::List;
use vmm_tests::forge::{Forge, Forged};

use crate::scene::{NOW, SERVER, deep};

/// A change to the chain that comes with a list.
type ChainEdit = Box<dyn Fn(&mut Vec<Vec<u8>>, &Forged)>;

/// What is handed in, and to whom.
pub(crate) struct Scene {
    /// Its last certificate is the issuer.
    pub(crate) forge: Forge,
    pub(crate) list: List,
    /// The root that the server knows; `None`: the chain's own.
    pub(crate) root: Option<Vec<u8>>,
    pub(crate) now: i64,
    chain: Option<ChainEdit>,
}

impl Scene {
    pub(crate) fn of(forge: Forge) -> Self {
        Self { forge, list: List::of(5, &[&[7]]), root: None, now: NOW, chain: None }
    }

    /// Changes the chain after all is signed.
    pub(crate) fn chain(&mut self, edit: impl Fn(&mut Vec<Vec<u8>>, &Forged) + 'static) {
        self.chain = Some(Box::new(edit));
    }

    /// The draft at a place: 0 is the root.
    pub(crate) fn at(&mut self, place: usize) -> &mut Draft {
        &mut self.forge.drafts[place]
    }

    pub(crate) fn judge(&self) -> Result<CrlAuthority, CrlError> {
        let forged = self.forge.sign();
        let der = self.list.sign(self.forge.drafts.last().unwrap());
        let mut chain = forged.chain_der();
        if let Some(edit) = &self.chain {
            edit(&mut chain, &forged);
        }
        judge(&der, &chain, self.root.as_deref().unwrap_or(forged.root_der()), self.now)
    }
}

/// What the suite says of a list.
pub(crate) fn judge(
    der: &[u8],
    chain: &[Vec<u8>],
    root: &[u8],
    now: i64,
) -> Result<CrlAuthority, CrlError> {
    let root = Root::from_der(root).unwrap();
    let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    authorize_crl(der, &chain, &root, Some(&Digest(SERVER)), now)
}

/// The one reason for which a list may be refused.
#[derive(Clone, Copy)]
pub(crate) struct Reason {
    pub(crate) words: &'static str,
    pub(crate) is: fn(&CrlError) -> bool,
}

/// The list is refused.
macro_rules! list {
    ($error:pat) => {
        $crate::lists::scene::Reason {
            words: stringify!($error),
            is: |error| matches!(error, $error),
        }
    };
}

/// The chain of its issuer is refused by a rule, with a fault.
macro_rules! chain {
    ($rule:literal, $fault:pat) => {
        $crate::lists::scene::Reason {
            words: concat!("its chain: rule ", stringify!($rule), ", ", stringify!($fault)),
            is: |error| {
                matches!(error, vmm_proto::chain::crl::CrlError::Chain(error)
                    if error.fault.rule() == $rule && matches!(&error.fault, $fault))
            },
        }
    };
}

pub(crate) use {chain, list};

/// A named list that is refused.
pub(crate) struct Case {
    pub(crate) name: String,
    base: fn() -> Scene,
    change: Box<dyn Fn(&mut Scene)>,
    reason: Reason,
}

/// A case: `base` is taken, and is refused for this reason once it is changed.
pub(crate) fn refuse(
    name: impl Into<String>,
    base: fn() -> Scene,
    change: impl Fn(&mut Scene) + 'static,
    reason: Reason,
) -> Case {
    Case { name: name.into(), base, change: Box::new(change), reason }
}

/// A change to the list of [`alice`].
pub(crate) fn changed(
    name: impl Into<String>,
    change: impl Fn(&mut List) + 'static,
    reason: Reason,
) -> Case {
    refuse(name, alice, move |scene| change(&mut scene.list), reason)
}

impl Case {
    fn failure(&self) -> Option<String> {
        let mut scene = (self.base)();
        if let Err(error) = scene.judge() {
            return Some(format!("refused before the change: {error:?}"));
        }
        (self.change)(&mut scene);
        match scene.judge() {
            Ok(_) => Some("taken".to_owned()),
            Err(error) if !(self.reason.is)(&error) => {
                Some(format!("expected {}, found {error:?}", self.reason.words))
            }
            Err(_) => None,
        }
    }
}

/// Asserts every case, and reports all that fail.
pub(crate) fn all_are_refused(cases: &[Case]) {
    let failures: Vec<_> = cases
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, case.failure()?)))
        .collect();
    let count = cases.len();
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

/// A list of the root.
pub(crate) fn root() -> Scene {
    Scene::of(Forge::root("ca root"))
}

/// A list of `alice` below `dev`.
pub(crate) fn alice() -> Scene {
    Scene::of(Forge::root("ca root").delegation("dev", |_| {}).delegation("alice", |_| {}))
}

/// A list of the last of six delegations.
pub(crate) fn sixth() -> Scene {
    Scene::of(deep(6))
}

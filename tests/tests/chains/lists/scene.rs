//! What is handed in as a revocation list: lists that are taken until they are changed.

use rustls_pki_types::CertificateDer;
use vmm_proto::chain::Root;
use vmm_proto::chain::crl::{CrlAuthority, CrlError, authorize_crl};
use vmm_proto::id::Digest;
use vmm_tests::forge::crl::List;
use vmm_tests::forge::{Forge, Forged};

use crate::case::{self, Blames, Judged, refuse};
use crate::scene::{self, SERVER, deep};

/// A list that is refused.
pub(crate) type Case = case::Case<Scene>;

/// Why it is.
pub(crate) type Reason = case::Reason<CrlError>;

/// What is handed in, and to whom.
pub(crate) struct Scene {
    pub(crate) list: List,
    /// What comes with it; its last certificate is the issuer.
    pub(crate) chain: scene::Scene,
}

impl Scene {
    pub(crate) fn of(forge: Forge) -> Self {
        Self { list: List::of(5, &[&[7]]), chain: scene::Scene::of(forge) }
    }
}

impl Judged for Scene {
    type Verdict = CrlAuthority;
    type Refusal = CrlError;

    fn judge(&self) -> Result<CrlAuthority, CrlError> {
        let der = self.list.sign(self.chain.forge.drafts.last().unwrap());
        let (chain, root) = self.chain.shown();
        judge(&der, &chain, &root, self.chain.now)
    }
}

impl Blames for CrlError {
    fn blamed(&self) -> Option<&str> {
        match self {
            Self::Chain(error) => error.blamed(),
            _ => None,
        }
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

/// The list is refused.
macro_rules! list {
    ($error:pat) => {
        $crate::case::Reason::new(stringify!($error), |error| matches!(error, $error))
    };
}

/// The chain of its issuer is refused by a rule, with a fault.
macro_rules! chain {
    ($rule:literal, $fault:pat) => {
        $crate::case::Reason::new(
            concat!("its chain: rule ", stringify!($rule), ", ", stringify!($fault)),
            |error| {
                matches!(error, vmm_proto::chain::crl::CrlError::Chain(error)
                    if error.fault.rule() == $rule && matches!(&error.fault, $fault))
            },
        )
    };
}

pub(crate) use {chain, list};

/// A change to the list of [`alice`].
pub(crate) fn changed(
    name: impl Into<String>,
    change: impl Fn(&mut List) + 'static,
    reason: Reason,
) -> Case {
    refuse(name, alice, move |scene| change(&mut scene.list), reason)
}

/// The list of [`alice`] with her chain presented otherwise.
pub(crate) fn presented(
    name: &str,
    edit: impl Fn(&mut Vec<Vec<u8>>, &Forged) + Copy + 'static,
    reason: Reason,
) -> Case {
    refuse(name, alice, move |scene| scene.chain.present(edit), reason)
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

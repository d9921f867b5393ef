//! The judgements of an issuer: about its own chain before it signs, about its work after.

use rustls_pki_types::CertificateDer;
use vmm_proto::authority::Validity;
use vmm_proto::chain::certificate::{Certificate, Role};
use vmm_proto::chain::{self, ChainError, Root};
use vmm_proto::grant::Grant;
use vmm_proto::name::{Label, MAX_DELEGATIONS};
use x509_parser::certificate::X509Certificate;

use super::Issuer;
use crate::request::Request;
use crate::time::Moment;
use crate::{Error, Refusal};

impl Issuer {
    /// Judges the issuer's own chain at `now` (Unix seconds), as far as that is possible without
    /// the root: each certificate is as the profile has it, valid now, signed by the next one, and
    /// no larger than it.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn check(&self, now: i64) -> Result<(), Refusal> {
        if self.chain.len() > MAX_DELEGATIONS {
            let problem = format!("{} certificates are too many for a path", self.chain.len());
            return Err(Refusal::Bundle(problem));
        }
        let mut chain =
            self.chain.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
        inherit_hosts(&mut chain);
        for certificate in &chain {
            valid_at(certificate, now)?;
        }
        for (index, below) in chain.iter().enumerate() {
            if let Some(above) = chain.get(index + 1) {
                holds(below, &self.chain[index], above, &self.chain[index + 1])?;
            }
        }
        if self.bounds().is_some() { self.reaches_the_root() } else { self.is_a_root() }
    }

    fn is_a_root(&self) -> Result<(), Refusal> {
        let root = self.chain.first().map(|der| Root::from_der(der));
        match root {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(Refusal::Bundle(error.to_string())),
            None => Err(Refusal::Bundle("it is empty".to_owned())),
        }
    }

    /// The last certificate of the bundle must be issued by a root: its issuer's name is no label.
    fn reaches_the_root(&self) -> Result<(), Refusal> {
        let issuer = self.chain.last().and_then(|last| {
            let parsed = parse(last).ok()?;
            let name = parsed.issuer().iter_common_name().next()?.as_str().ok()?;
            Some(name.to_owned())
        });
        match issuer {
            Some(name) if Label::parse(&name).is_ok() => Err(Refusal::Bundle(format!(
                "the certificate of \"{name}\" is missing: give the .bundle that came with \
                 the certificate, not the .pem alone"
            ))),
            Some(_) => Ok(()),
            None => Err(Refusal::Bundle("its last certificate names no issuer".to_owned())),
        }
    }

    /// Whether the path lengths of the chain allow one more delegation below this issuer.
    pub(super) fn path_length_allows(&self) -> Result<(), Refusal> {
        for (below, der) in self.chain.iter().enumerate() {
            let parsed = parse(der)?;
            let limit = parsed
                .basic_constraints()
                .ok()
                .flatten()
                .and_then(|basic| basic.value.path_len_constraint);
            if limit.is_some_and(|limit| (limit as usize) < below + 1) {
                let name = Certificate::parse(der)?.subject;
                return Err(Refusal::PathLength(name));
            }
        }
        Ok(())
    }

    /// Reads the certificate that was just made with the eyes of a server.
    pub(super) fn self_test(
        &self,
        made: &CertificateDer<'_>,
        request: &Request,
        grant: &Grant,
        validity: Validity,
    ) -> Result<(), Error> {
        let failed = |what: &str| Error::SelfTest(what.to_owned());
        let certificate =
            Certificate::parse(made).map_err(|error| Error::SelfTest(error.to_string()))?;
        let own = self.chain.first().ok_or_else(|| failed("no issuer"))?;
        holds(&certificate, made, &self.own, own)
            .map_err(|error| Error::SelfTest(error.to_string()))?;
        let same_grant = match (&certificate.role, grant) {
            (Role::Delegation(made), Grant::Delegation(asked)) => made == asked,
            (Role::Permissions(made), Grant::Permissions(asked)) => made == asked,
            (Role::Machine(made), Grant::Machine(asked)) => **made == *asked,
            _ => false,
        };
        if !same_grant {
            return Err(failed("its grant is not the one asked for"));
        }
        if certificate.subject != request.label.as_str() || certificate.key != request.key_digest()
        {
            return Err(failed("it is not for the label and key of the request"));
        }
        if certificate.validity != validity {
            return Err(failed("its validity is not the one asked for"));
        }
        self.authorizes(made, &certificate, validity)
    }

    /// What the root issues as a leaf is a complete chain: the server's own check can judge it.
    fn authorizes(
        &self,
        made: &CertificateDer<'_>,
        certificate: &Certificate,
        validity: Validity,
    ) -> Result<(), Error> {
        let complete = self.bounds().is_none() && !matches!(certificate.role, Role::Delegation(_));
        let Some(own) = self.chain.first().filter(|_| complete) else { return Ok(()) };
        let failed = |problem: String| Error::SelfTest(problem);
        let root = Root::from_der(own).map_err(|error| failed(error.to_string()))?;
        let made = [CertificateDer::from(made.as_ref())];
        chain::authorize(&made, &root, None, validity.not_after)
            .map(drop)
            .map_err(|error| failed(error.to_string()))
    }
}

/// Hosts that are not named are the issuer's: what is below must fit in those.
fn inherit_hosts(chain: &mut [Certificate]) {
    let mut inherited = None;
    for certificate in chain.iter_mut().rev() {
        if let Role::Delegation(share) = &mut certificate.role {
            share.hosts = share.hosts.take().or_else(|| inherited.take());
            inherited.clone_from(&share.hosts);
        }
    }
}

fn valid_at(certificate: &Certificate, now: i64) -> Result<(), Refusal> {
    if certificate.validity.contains(now) {
        return Ok(());
    }
    Err(Refusal::IssuerNotValid {
        subject: certificate.subject.clone(),
        not_before: Moment(certificate.validity.not_before),
        not_after: Moment(certificate.validity.not_after),
        now: Moment(now),
    })
}

/// Whether `above` issued `below`: key ids, names, signature, and rule 5 of the profile.
pub(super) fn holds(
    below: &Certificate,
    below_der: &CertificateDer<'_>,
    above: &Certificate,
    above_der: &CertificateDer<'_>,
) -> Result<(), Refusal> {
    signed_by(below, below_der, above, above_der)?;
    match (&below.role, &above.role) {
        (Role::Delegation(own), Role::Delegation(limit)) => {
            own.fits_in(limit).map_err(|misfit| Refusal::DelegationMisfit {
                label: below.subject.clone(),
                issuer: above.subject.clone(),
                misfit,
            })
        }
        (_, Role::Delegation(_) | Role::Root) => Ok(()),
        _ => Err(not_issued(below, above, "that one issues nothing")),
    }
}

fn not_issued(below: &Certificate, above: &Certificate, what: &str) -> Refusal {
    let (below, above) = (&below.subject, &above.subject);
    Refusal::Bundle(format!("\"{below}\" is not issued by \"{above}\": {what}"))
}

/// Whether `above` signed `below`: key ids, names, signature.
pub(super) fn signed_by(
    below: &Certificate,
    below_der: &CertificateDer<'_>,
    above: &Certificate,
    above_der: &CertificateDer<'_>,
) -> Result<(), Refusal> {
    let broken = |what: &str| not_issued(below, above, what);
    if below.authority_key_id.is_none() || below.authority_key_id != above.subject_key_id {
        return Err(broken("its authorityKeyIdentifier is not that issuer's"));
    }
    let (child, parent) = (parse(below_der)?, parse(above_der)?);
    if child.issuer().as_raw() != parent.subject().as_raw() {
        return Err(broken("it names another issuer"));
    }
    if child.verify_signature(Some(parent.public_key())).is_err() {
        return Err(broken("the signature is not by that issuer's key"));
    }
    Ok(())
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Result<X509Certificate<'d>, Refusal> {
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, parsed)) => Ok(parsed),
        Err(_) => Err(Refusal::Chain(ChainError::from(chain::Fault::Encoding))),
    }
}

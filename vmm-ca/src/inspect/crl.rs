//! What can be said of a revocation list.

use vmm_proto::authority::Serial;
use x509_parser::extensions::ParsedExtension;

use super::name;

/// A revocation list as it stands, its signature not verified.
#[derive(Debug)]
pub struct ListFacts {
    /// The commonName of its issuer if that is all there is, its whole name otherwise.
    pub issuer: String,
    /// Its cRLNumber in decimal.
    pub number: Option<String>,
    /// Its thisUpdate in Unix seconds.
    pub this_update: i64,
    /// Its nextUpdate in Unix seconds.
    pub next_update: Option<i64>,
    /// Its authorityKeyIdentifier.
    pub authority_key_id: Option<Vec<u8>>,
    /// What it takes back, and since when (Unix seconds).
    pub revoked: Vec<(Serial, i64)>,
}

impl ListFacts {
    pub(super) fn of(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = x509_parser::parse_x509_crl(der)
            .map_err(|_| "not an X.509 revocation list in DER".to_owned())?;
        if !rest.is_empty() {
            return Err("the revocation list has bytes behind its end".to_owned());
        }
        let key_id =
            parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
                _ => None,
            });
        Ok(Self {
            issuer: name(parsed.issuer()),
            number: parsed.crl_number().map(ToString::to_string),
            this_update: parsed.last_update().timestamp(),
            next_update: parsed.next_update().map(|time| time.timestamp()),
            authority_key_id: key_id.map(|id| id.0.to_vec()),
            revoked: parsed
                .iter_revoked_certificates()
                .map(|one| (Serial(one.raw_serial().into()), one.revocation_date.timestamp()))
                .collect(),
        })
    }
}

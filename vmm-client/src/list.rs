//! Revocation lists in files: one to hand in, or the root's own, by which a server is refused.

use std::path::Path;

use vmm_proto::chain::Root;
use vmm_proto::chain::crl::authorize_crl;
use vmm_proto::chain::crl::pem::{CrlFile, MAX_FILE};
use vmm_proto::revocation::Serials;

use crate::failure::Failure;
use crate::time;

/// Reads a list and its issuer's chain. Nothing is judged but that the file is one.
pub(crate) fn read(file: &Path) -> Result<CrlFile, Failure> {
    let text = vmm_ca::file::read(file, MAX_FILE as u64).map_err(Failure::usage)?;
    let wrong = |error| Failure::usage(format!("{}: {error}", file.display()));
    CrlFile::parse(&text).map_err(wrong)
}

/// The serial numbers that the root takes back in this file: those of servers are among them.
pub(crate) fn of_root(file: &Path, root: &Root) -> Result<Serials, Failure> {
    let wrong = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let CrlFile { der, chain } = read(file)?;
    let verified = authorize_crl(&der, &chain, root, None, time::now());
    let list = verified.map_err(|error| wrong(error.to_string()))?.list;
    if list.issuer == root.key() {
        Ok(list.serials)
    } else {
        let issuer = list.path;
        Err(wrong(format!("it is the list of \"{issuer}\"; servers are revoked by the root's own")))
    }
}

//! The command line of `vmmd`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use vmm_proto::resource::{BridgeName, CpuSet, MAX_CPU};
use vmm_service::options::Common;

/// The supervisor: decides from certificates what may run on this host
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// What every daemon takes.
    #[command(flatten)]
    pub common: Common,
    /// The root CA's certificate, alone (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// This server's certificate, alone or followed by the root's (PEM)
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// This server's private key (PEM, PKCS#8)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where to listen for TLS, unless a service manager passes sockets; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:1025")]
    pub listen: Vec<SocketAddr>,
    /// The program that runs machines, used here to look at images [default: vmm-tender beside
    /// this program]
    #[arg(long, value_name = "FILE")]
    pub tender: Option<PathBuf>,
    /// Where this host's own revocation lists are, as FILE.crl; looked at at the start and on SIGHUP
    /// [default: crls in the state directory]
    #[arg(long, value_name = "DIR")]
    pub crls: Option<PathBuf>,
    /// What becomes of machines that run when a delegation above them expires
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnExpiry::Keep)]
    pub on_expiry: OnExpiry,
    /// End all machines when this program ends; those that should run are started again by the next
    #[arg(long)]
    pub stop_machines: bool,
    /// A bridge on which machines of different top-level delegations see each other; may be given
    /// several times [default: on every bridge only those of the same]
    #[arg(long, value_name = "NAME", value_parser = BridgeName::parse)]
    pub bridge_peers: Vec<BridgeName>,
    /// Machines that may run at the same time [default: 1000]
    #[arg(long, value_name = "N")]
    pub host_machines: Option<u32>,
    /// MiB of memory for machines [default: what the host has, less a reserve]
    #[arg(long, value_name = "MIB")]
    pub host_memory: Option<u64>,
    /// CPUs for machines, as 0,2 or 0-3 [default: all that this process may use]
    #[arg(long, value_name = "LIST", value_parser = cpu_list)]
    pub host_cpus: Option<CpuSet>,
    /// MiB of storage, as `quota` shows them; there is nothing yet that takes any [default: what is free,
    /// less a reserve]
    #[arg(long, value_name = "MIB")]
    pub host_storage: Option<u64>,
}

/// What becomes of machines that run when their authority ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnExpiry {
    /// They run on, and are restarted by their policy; nothing new is deployed
    Keep,
    /// They are stopped
    Stop,
}

impl From<OnExpiry> for vmm_engine::OnExpiry {
    fn from(on_expiry: OnExpiry) -> Self {
        match on_expiry {
            OnExpiry::Keep => Self::Keep,
            OnExpiry::Stop => Self::Stop,
        }
    }
}

/// `0,2-3` as a set.
fn cpu_list(text: &str) -> Result<CpuSet, String> {
    let id = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|id| *id <= MAX_CPU)
            .ok_or_else(|| format!("\"{text}\" is not a CPU id from 0 to {MAX_CPU}"))
    };
    let mut ids = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        ids.extend(id(first)?..=id(last)?);
    }
    if ids.is_empty() {
        return Err("no CPU in it".to_owned());
    }
    Ok(ids.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bridges_of_peers_are_named_one_by_one() {
        let files = ["--ca", "a", "--cert", "b", "--key", "c"];
        let parse = |peers: &[&str]| {
            let words = ["vmmd"].iter().chain(&files).chain(peers);
            Options::try_parse_from(words).map(|options| options.bridge_peers)
        };
        let names = ["ext", "int"].map(|name| BridgeName::parse(name).unwrap());
        assert_eq!(parse(&["--bridge-peers", "ext", "--bridge-peers", "int"]).unwrap(), names);
        assert_eq!(parse(&[]).unwrap(), []);
        assert!(parse(&["--bridge-peers", "a bridge"]).is_err());
    }

    #[test]
    fn a_list_of_cpus_has_numbers_and_ranges() {
        let ids = |text| cpu_list(text).map(|set| set.ids().to_vec());
        assert_eq!(ids("0,2-4,1"), Ok(vec![0, 1, 2, 3, 4]));
        for bad in ["", "a", "1-", "4096", "3-1", "1,,2"] {
            assert!(ids(bad).is_err(), "{bad}");
        }
    }
}

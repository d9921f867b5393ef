//! An installation whose tenants have bridges.

use std::net::IpAddr;

use serde_json::Value;
use xtask::house::{DAEMONS, wait_until};

use super::Holdings;
use crate::census::Census;
use crate::links;
use crate::reboot;
use crate::setup::{Done, Setup};

/// Addresses `first` to `last` of the first bridge's network, behind the host, as a delegation has
/// them.
pub fn of_bridge(bridge: &str, first: u8, last: u8) -> String {
    format!("{bridge}/10.0.0.{first}/10.0.0.{last}/10.0.0.1/24")
}

/// The same over IPv6.
pub fn of_bridge6(bridge: &str, first: u16, last: u16) -> String {
    format!("{bridge}/fd00::{first:x}/fd00::{last:x}/fd00::1/64")
}

/// Addresses of both families on the bridge `ext`: ten, and sixteen over IPv6.
pub const BOTH_ON_EXT: [&str; 2] =
    ["ext/10.0.0.10/10.0.0.19/10.0.0.1/24", "ext/fd00::10/fd00::1f/fd00::1/64"];

/// A running installation, whose top-level delegations have bridges.
#[derive(Debug)]
pub struct Tenants {
    /// It.
    pub setup: Setup,
    spawn: Vec<String>,
    vmmd: Vec<String>,
}

/// What an installation has besides bridges and tenants.
#[derive(Debug, Default, Clone, Copy)]
pub struct Besides<'a> {
    /// More arguments of `vmmd`.
    pub vmmd: &'a [&'a str],
    /// More arguments of `vmm-spawn`.
    pub spawn: &'a [&'a str],
    /// Whether its host can be booted again: see [`reboot`].
    pub reboots: bool,
}

impl Tenants {
    /// Machines may be put on `bridges`. Each of the tenants, by name, has the bridges that are named
    /// beside it, with or without addresses, 600 machines and 8 GiB.
    pub fn new(bridges: &[&str], tenants: &[(&str, &[&str])]) -> Self {
        Self::with(bridges, tenants, Besides::default())
    }

    /// As [`Tenants::new`], and more.
    pub fn with(bridges: &[&str], tenants: &[(&str, &[&str])], besides: Besides<'_>) -> Self {
        let setup = if besides.reboots {
            Setup::with_programs(reboot::programs)
        } else {
            Setup::without_daemons()
        };
        if besides.reboots {
            reboot::is_boot(&setup, 1);
        }
        for (name, bridges) in tenants {
            let mut share = vec!["600", "8192", "--cpu", "0"];
            share.extend(bridges.iter().flat_map(|bridge| ["--bridge", bridge]));
            setup.delegate("ca.db", "cacert.pem", "ca.key", name, &share);
        }
        let of_bridge = |name: &&str| ["--bridge".to_owned(), (*name).to_owned()];
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let spawn = bridges.iter().flat_map(of_bridge).chain(words(besides.spawn)).collect();
        let limits = ["--host-machines", "2000", "--host-memory", "65536", "--host-cpus", "0"];
        let vmmd = [words(&limits), words(besides.vmmd)].concat();
        let mut tenants = Self { setup, spawn, vmmd };
        tenants.start_all();
        tenants
    }

    fn start_all(&mut self) {
        for daemon in DAEMONS {
            self.start_again(daemon);
        }
        self.all_know_each_other();
    }

    /// Has the host lose its power and boot for the `boot`th time. Its bridges are as they were.
    pub fn reboot(&mut self, boot: u32) {
        reboot::lose_power(&mut self.setup);
        reboot::is_boot(&self.setup, boot);
        self.start_all();
    }

    /// Waits until all daemons have found each other.
    #[track_caller]
    pub fn all_know_each_other(&self) {
        let linked = || links::are_made(&self.setup.house);
        wait_until("all daemons know each other", linked).unwrap();
    }

    /// Runs a machine of a tenant: `image` with interfaces `NAME=BRIDGE`, and arguments.
    pub fn run(
        &self,
        who: &str,
        name: &str,
        image: &str,
        networks: &[&str],
        more: &[&str],
    ) -> Done {
        let mut run = vec!["run", name, image, "--memory", "8", "--cpu", "0"];
        run.extend(networks.iter().flat_map(|network| ["--network", network]));
        run.extend(more);
        self.setup.client(who, &run)
    }

    /// Runs `echo` on the bridge `ext` and says where it answers: over IPv4, and over IPv6 if its
    /// tenant has such addresses.
    #[track_caller]
    pub fn echo(&self, who: &str, name: &str) -> (IpAddr, Option<IpAddr>) {
        self.run(who, name, "echo.spt", &["service=ext"], &[]).expect(0);
        let network = &self.info(who, name)["networks"][0];
        (address(&network["address"]).unwrap(), address(&network["address6"]))
    }

    /// What the host and the installation hold, once a machine with a network has come and gone and was
    /// counted: the socket by which `vmm-stats` asks for counters stays open from then on.
    #[track_caller]
    pub fn holding(&self, who: &str) -> (Holdings, Census) {
        self.echo(who, "first");
        let counted = || self.traffic(who, "first").is_some();
        wait_until("counters of an interface", counted).unwrap();
        self.setup.client(who, &["destroy", "first"]).expect(0);
        wait_until("no interface", || Holdings::taps() == 0).unwrap();
        (Holdings::now(), Census::of(&self.setup))
    }

    /// What the admin of the host sees of a machine.
    #[track_caller]
    pub fn info(&self, who: &str, name: &str) -> Value {
        let done = self.setup.admin(&["--format", "json", "info", &format!("{who}/{name}")]);
        done.expect(0).json()[0].clone()
    }

    /// What went through the first interface of a machine so far, if that was looked at yet.
    pub fn traffic(&self, who: &str, name: &str) -> Option<Traffic> {
        let name = format!("{who}/{name}");
        let done = self.setup.admin(&["--format", "json", "statistics", &name]);
        if done.code != Some(0) {
            return None;
        }
        let interface = &done.json()[0]["interfaces"][0];
        let count = |what: &str| interface[what].as_u64();
        Some(Traffic {
            received: (count("received_packets")?, count("received_bytes")?),
            sent: (count("sent_packets")?, count("sent_bytes")?),
        })
    }

    /// Starts a daemon again, as it was started at first.
    pub fn start_again(&mut self, daemon: &str) {
        let arguments = self.more(daemon);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.setup.house.start_with(daemon, &arguments).unwrap();
    }

    fn more(&self, daemon: &str) -> Vec<String> {
        match daemon {
            "vmm-spawn" => self.spawn.clone(),
            "vmmd" => self.vmmd.clone(),
            _ => Vec::new(),
        }
    }
}

/// Frames and bytes that went through an interface, as its guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// What the guest got: frames, and bytes.
    pub received: (u64, u64),
    /// What the guest sent: frames, and bytes.
    pub sent: (u64, u64),
}

/// The address in `A/P`.
pub fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.split('/').next()?.parse().ok()
}

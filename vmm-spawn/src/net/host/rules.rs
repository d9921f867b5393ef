//! The rules of the packet filter for host networks: one table of IPv4 for all of an installation.
//!
//! Machines reach others through the uplink under its address, and get answers. Nobody else opens a
//! connection into their network, and what pretends to come from elsewhere is not passed on. An
//! interface whose forwarding was switched on for this passes on nothing else: to it, this host is no
//! more of a router than before.
//!
//! The table also is where it is written down which interfaces those are. It lives as long as their
//! settings do: until the host is booted.

use std::borrow::Cow;
use std::collections::BTreeSet;

use nftables::expr::{
    CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, Prefix, Range,
};
use nftables::schema::{Chain, NfCmd, NfListObject, Rule, Table};
use nftables::stmt::{CTCount, Match, Operator, Statement};
use nftables::types::{NfChainPolicy, NfChainType, NfFamily, NfHook};
use vmm_proto::resource::{HostNetwork, MAX_HOST_NETWORKS};

use crate::net::link::Link;
use crate::net::nft::{Error, Nft};
use crate::net::tap::{HOST_MAC, hex};

const CONNECTIONS: &str = "prerouting";
const FORWARD: &str = "forward";
const NAT: &str = "postrouting";

/// Where filters and translations of source addresses usually are, in the order of hooks.
const FILTER_PRIORITY: i32 = 0;
const SOURCE_NAT_PRIORITY: i32 = 100;

/// The bounds of [`connections_max`].
const CONNECTIONS_MIN: u32 = 1 << 10;
const CONNECTIONS_MAX: u32 = 1 << 13;

/// What is written on the rule of an interface whose forwarding was switched on.
const OPENED: &str = "forwarding switched on";

/// A table of host networks.
#[derive(Debug)]
pub struct Rules {
    table: String,
    nft: Nft,
}

/// What a table says.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The interfaces whose forwarding was switched on.
    pub opened: BTreeSet<String>,
    chains: Vec<Chain<'static>>,
    rules: Vec<Rule<'static>>,
}

impl Rules {
    /// The table of this name.
    pub const fn new(table: String, nft: Nft) -> Self {
        Self { table, nft }
    }

    /// What it says now, if there is one.
    ///
    /// # Errors
    /// It cannot be known.
    pub fn found(&mut self) -> Result<Option<Found>, Error> {
        let Some(objects) = self.nft.ip_table(&self.table)? else { return Ok(None) };
        let mut found = Found { opened: BTreeSet::new(), chains: Vec::new(), rules: Vec::new() };
        for object in objects {
            match object {
                NfListObject::Chain(chain) => {
                    found.chains.push(Chain { handle: None, ..chain });
                }
                NfListObject::Rule(rule) => {
                    found.opened.extend(opened_by(&rule));
                    found.rules.push(Rule { handle: None, ..rule });
                }
                _ => {}
            }
        }
        Ok(Some(found))
    }

    /// Makes it say this, all at once, and sees to it that the kernel has understood. Nothing is done
    /// where it was `found` to say so.
    ///
    /// # Errors
    /// It says what it said before; or the kernel has made something else of it.
    pub fn set(
        &mut self,
        found: Option<&Found>,
        networks: &[(HostNetwork, Link)],
        opened: &[&Link],
    ) -> Result<(), Error> {
        if found.is_some_and(|found| self.is_said(found, networks, opened)) {
            return Ok(());
        }
        // By the first rules about connections the kernel begins to count them, and then says how many
        // there may be: the second ones know.
        for _ in 0..2 {
            let (chains, rules) = self.wanted(networks, opened);
            // It is there before it is replaced, so that there is something to delete.
            let table = || NfListObject::Table(self.table());
            let mut commands =
                vec![NfCmd::Add(table()), NfCmd::Delete(table()), NfCmd::Add(table())];
            commands.extend(chains.into_iter().map(|it| NfCmd::Add(NfListObject::Chain(it))));
            commands.extend(rules.into_iter().map(|it| NfCmd::Add(NfListObject::Rule(it))));
            self.nft.change(commands)?;
            if self.found()?.is_some_and(|found| self.is_said(&found, networks, opened)) {
                return Ok(());
            }
        }
        Err(Error::NotTaken(format!("in the table ip {}", self.table)))
    }

    fn is_said(&self, found: &Found, networks: &[(HostNetwork, Link)], opened: &[&Link]) -> bool {
        let (chains, rules) = self.wanted(networks, opened);
        found.chains == chains && found.rules == rules
    }

    /// Removes it, if there is one.
    ///
    /// # Errors
    /// It stays.
    pub fn remove(&mut self) -> Result<(), Error> {
        let table = NfListObject::Table(self.table());
        self.nft.change(vec![NfCmd::Add(table.clone()), NfCmd::Delete(table)])
    }

    fn table(&self) -> Table<'static> {
        Table { family: NfFamily::IP, name: self.table.clone().into(), handle: None }
    }

    fn wanted(
        &self,
        networks: &[(HostNetwork, Link)],
        opened: &[&Link],
    ) -> (Vec<Chain<'static>>, Vec<Rule<'static>>) {
        let chains = vec![
            self.chain(CONNECTIONS, NfChainType::Filter, NfHook::Prerouting, FILTER_PRIORITY),
            self.chain(FORWARD, NfChainType::Filter, NfHook::Forward, FILTER_PRIORITY),
            self.chain(NAT, NfChainType::NAT, NfHook::Postrouting, SOURCE_NAT_PRIORITY),
        ];
        let most = connections_max();
        let counted = networks.iter();
        let counted =
            counted.map(|(network, _)| self.rule(CONNECTIONS, bounded(network, most), None));
        let forward = networks.iter().flat_map(|(network, link)| forwarding(network, link));
        let forward = forward.map(|it| self.rule(FORWARD, it, None));
        let shut = opened.iter().flat_map(|link| {
            let bridged = bridged(link).map(|it| self.rule(FORWARD, it, None));
            let statements = vec![interface(MetaKey::Iifname, Operator::EQ, &link.name), drop_it()];
            bridged.into_iter().chain([self.rule(FORWARD, statements, Some(OPENED.into()))])
        });
        let nat = networks.iter().map(|(network, _)| self.rule(NAT, masquerade(network), None));
        (chains, counted.chain(forward).chain(shut).chain(nat).collect())
    }

    fn chain(
        &self,
        name: &'static str,
        kind: NfChainType,
        hook: NfHook,
        priority: i32,
    ) -> Chain<'static> {
        Chain {
            family: NfFamily::IP,
            table: self.table.clone().into(),
            name: name.into(),
            _type: Some(kind),
            hook: Some(hook),
            prio: Some(priority),
            policy: Some(NfChainPolicy::Accept),
            ..Chain::default()
        }
    }

    fn rule(
        &self,
        chain: &'static str,
        statements: Vec<Statement<'static>>,
        comment: Option<Cow<'static, str>>,
    ) -> Rule<'static> {
        Rule {
            family: NfFamily::IP,
            table: self.table.clone().into(),
            chain: chain.into(),
            expr: statements.into(),
            comment,
            ..Rule::default()
        }
    }
}

/// How many connections all machines of a network may have at a time, to the host and through it. The
/// host keeps a record of each, and when it has no room for another one, it can open none itself: so all
/// host networks together have half of the room. A rule looks through all that it counts.
pub(super) fn connections_max() -> u32 {
    let read = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max").ok();
    let room: Option<usize> = read.and_then(|text| text.trim().parse().ok());
    // Where nobody has counted yet, there is no such file.
    let share = room.map_or(0, |room| room / 2 / MAX_HOST_NETWORKS);
    u32::try_from(share).unwrap_or(u32::MAX).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// No connection is opened that would be one too many.
fn bounded(network: &HostNetwork, most: u32) -> Vec<Statement<'static>> {
    let is_new = connection(text("new"));
    let over = CTCount { val: Expression::Number(most), inv: Some(true) };
    let from = interface(MetaKey::Iifname, Operator::EQ, network.name().as_str());
    vec![from, is_new, Statement::CTCount(over), drop_it()]
}

/// What a bridge passes on from one of its ports to another, where it hands that to these rules
/// (`br_netfilter`), is not theirs to judge. What this host would pass back into the bridge looks the
/// same, but was sent to the host: to the hardware address of the bridge, or of the port by which it
/// came, and those of machines begin with [`HOST_MAC`].
fn bridged(link: &Link) -> Option<Vec<Statement<'static>>> {
    let own = text(&hex(&link.mac.filter(|_| link.is_bridge())?));
    let [first, last] = [0, 0xFF].map(|rest| text(&hex(&[HOST_MAC, rest, rest, rest, rest, rest])));
    let ports = Expression::Range(Box::new(Range { range: [first, last] }));
    let field = PayloadField { protocol: "ether".into(), field: "daddr".into() };
    let left = Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)));
    let not_to = |right| Statement::Match(Match { left: left.clone(), right, op: Operator::NEQ });
    Some(vec![
        interface(MetaKey::Iifname, Operator::EQ, &link.name),
        interface(MetaKey::Oifname, Operator::EQ, &link.name),
        not_to(own),
        not_to(ports),
        Statement::Accept(None),
    ])
}

/// What is passed on from and to a network.
fn forwarding(network: &HostNetwork, link: &Link) -> Vec<Vec<Statement<'static>>> {
    let name = network.name().as_str();
    let from = || interface(MetaKey::Iifname, Operator::EQ, name);
    let to = || interface(MetaKey::Oifname, Operator::EQ, name);
    let mut rules: Vec<_> = bridged(link).into_iter().collect();
    rules.push(vec![from(), source(Operator::NEQ, network), drop_it()]);
    if let Some(uplink) = network.uplink() {
        let elsewhere = interface(MetaKey::Oifname, Operator::NEQ, uplink.as_str());
        rules.push(vec![from(), elsewhere, drop_it()]);
    }
    rules.push(vec![to(), answers(), Statement::Accept(None)]);
    rules.push(vec![to(), drop_it()]);
    rules
}

/// Under which address machines reach others.
fn masquerade(network: &HostNetwork) -> Vec<Statement<'static>> {
    let out = match network.uplink() {
        Some(uplink) => interface(MetaKey::Oifname, Operator::EQ, uplink.as_str()),
        None => interface(MetaKey::Oifname, Operator::NEQ, network.name().as_str()),
    };
    vec![source(Operator::EQ, network), out, Statement::Masquerade(None)]
}

fn interface(key: MetaKey, op: Operator, name: &str) -> Statement<'static> {
    let left = Expression::Named(NamedExpression::Meta(Meta { key }));
    Statement::Match(Match { left, right: text(name), op })
}

fn source(op: Operator, network: &HostNetwork) -> Statement<'static> {
    let field = PayloadField { protocol: "ip".into(), field: "saddr".into() };
    let left = Expression::Named(NamedExpression::Payload(Payload::PayloadField(field)));
    let addr = Box::new(text(&network.network().to_string()));
    let prefix = Prefix { addr, len: network.prefix().into() };
    Statement::Match(Match { left, right: Expression::Named(NamedExpression::Prefix(prefix)), op })
}

/// What belongs to a connection that was opened from inside.
fn answers() -> Statement<'static> {
    connection(Expression::List(vec![text("established"), text("related")]))
}

/// What belongs to a connection in one of these states.
fn connection(right: Expression<'static>) -> Statement<'static> {
    let state = CT { key: "state".into(), family: None, dir: None };
    let left = Expression::Named(NamedExpression::CT(state));
    Statement::Match(Match { left, right, op: Operator::IN })
}

fn drop_it() -> Statement<'static> {
    Statement::Drop(None)
}

fn text(text: &str) -> Expression<'static> {
    Expression::String(text.to_owned().into())
}

/// The interface whose forwarding was switched on, as its rule says.
fn opened_by(rule: &Rule<'_>) -> Option<String> {
    if rule.comment.as_deref() != Some(OPENED) {
        return None;
    }
    match rule.expr.first() {
        Some(Statement::Match(Match { right: Expression::String(name), .. })) => {
            Some(name.clone().into_owned())
        }
        _ => None,
    }
}

//! In network namespaces of their own, which only root can make.

use std::cell::RefCell;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use nix::sched::{CloneFlags, unshare};
use rustix::process::geteuid;
use vmm_testkit::{skipped, until};

use super::netlink::Netlink;

/// A network namespace for this thread, in which there is nothing but a loopback interface; `None`,
/// said loudly, for those who cannot have one.
pub(crate) fn empty_network() -> Option<Netlink> {
    if geteuid().is_root() {
        take_turn();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        return Some(Netlink::open().unwrap());
    }
    skipped("a network namespace, which only root can make");
    None
}

/// Waits until no other test has a network or runs a program: that has, until it is another program,
/// copies of all descriptors of this process. Taps are there as long as any of them, and so are locks.
pub(crate) fn take_turn() {
    static TURN: Mutex<()> = Mutex::new(());
    thread_local! {
        /// Until the end of the thread, which is that of the test.
        static MINE: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
    }
    MINE.with_borrow_mut(|mine| {
        if mine.is_none() {
            *mine = Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
}

/// A bridge with nothing on it.
pub(crate) fn make_bridge(netlink: &mut Netlink, name: &str) -> u32 {
    let mut order = LinkMessage::default();
    order.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    netlink.order(RouteNetlinkMessage::NewLink(order), NLM_F_CREATE | NLM_F_EXCL).unwrap();
    netlink.link(name).unwrap().unwrap().index
}

/// Runs `ip` in the namespace of this thread, which must succeed.
pub(crate) fn ip(arguments: &str) -> String {
    run(Command::new("ip").args(arguments.split(' ')), arguments)
}

pub(crate) fn run(command: &mut Command, what: &str) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A program that owns a table, which nobody else may change as long as it runs.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn of(table: &str) -> Self {
        let mut nft = Command::new("/usr/sbin/nft");
        let nft = nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut this = Self(nft.spawn().unwrap());
        let words = format!("add table {table} {{ flags owner; }}\n");
        this.0.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
        // Not what it prints itself: it repeats its input before it does anything.
        until(&format!("{table} has an owner"), || {
            let listed = Command::new("/usr/sbin/nft").args(["list", "ruleset"]).output().unwrap();
            String::from_utf8_lossy(&listed.stdout).contains("flags owner").then_some(())
        });
        this
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn interfaces_are_found_by_name_and_by_number_changed_and_removed() {
    let Some(mut netlink) = empty_network() else { return };
    let lo = netlink.link("lo").unwrap().unwrap();
    assert_eq!((lo.index, lo.is_up, lo.is_bridge()), (1, false, false));
    let longest = "a-15-bytes-long";
    let index = make_bridge(&mut netlink, longest);
    let bridge = netlink.link_at(index).unwrap().unwrap();
    assert_eq!((bridge.name.as_str(), bridge.mtu, bridge.is_up), (longest, 1500, false));
    assert!(bridge.is_bridge() && bridge.mac.is_some());
    let alias = LinkAttribute::IfAlias("of somebody".into());
    netlink.change_link(index, vec![LinkAttribute::Mtu(9000), alias]).unwrap();
    netlink.set_up(index, true).unwrap();
    let names: Vec<_> = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(names, ["lo", longest]);
    let bridge = netlink.link(longest).unwrap().unwrap();
    assert_eq!((bridge.mtu, bridge.is_up), (9000, true));
    assert_eq!(bridge.alias.as_deref(), Some("of somebody"));
    netlink.delete_link(index).unwrap();
    assert_eq!(netlink.link(longest).unwrap(), None);
    assert_eq!(netlink.link_at(index).unwrap(), None);
    assert_eq!(netlink.link("a-16-bytes-long-").unwrap(), None);
}

#[test]
fn a_refusal_is_in_the_words_of_the_kernel() {
    let Some(mut netlink) = empty_network() else { return };
    let error = netlink.change_link(1, vec![LinkAttribute::Controller(1)]).unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::OPNOTSUPP));
    let error = netlink.change_link(77, vec![LinkAttribute::Mtu(9000)]).unwrap_err();
    assert_eq!(error.errno(), Some(rustix::io::Errno::NODEV));
    let index = make_bridge(&mut netlink, "ext");
    let error = netlink.change_link(index, vec![LinkAttribute::Mtu(7)]).unwrap_err();
    assert_eq!(error.to_string(), "Invalid argument (os error 22) (mtu less than device minimum)");
}

#[test]
fn a_long_list_is_whole() {
    let Some(mut netlink) = empty_network() else { return };
    let names: Vec<_> = (0..200).map(|number| format!("br{number}")).collect();
    for name in &names {
        make_bridge(&mut netlink, name);
    }
    let found: Vec<_> = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(found[1..], names);
}

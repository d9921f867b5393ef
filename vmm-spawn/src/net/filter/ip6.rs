//! IPv6, whose neighbour discovery (RFC 4861) names addresses where no header shows them.
//!
//! What is behind the header is known by its place, so that there is nothing between: extension
//! headers pass only where they must be, before multicast listener reports and in front of
//! fragments of what cannot be neighbour discovery (RFC 6980, 7112 and 7113). Options of neighbour
//! discovery have no place of their own: a message with one has one length.

use std::net::Ipv6Addr;

use super::frames::Facts;
use super::words::{
    Program, Statement, Value, accept, any, drop, go_to, is, is_not, masked, number, packet, range,
};
use crate::net::link::Mac;

/// The chain `ip6`.
pub fn rules(program: &mut Program, facts: &Facts<'_>) {
    let own = facts.address6.map(|address| [address, link_local(facts.mac)]);
    discovery(program, facts, own);
    messages(program);
    fragments(program);
    carried(program);
    let Some(own) = own else {
        program.chain("ip6").rule("of any address", [go_to("ip6-carried")]);
        return;
    };
    unspecified(program, own);
    let source = || packet(64, 128);
    program
        .chain("ip6")
        .rule(
            "of its addresses",
            [is(source(), any(own.map(|it| number(it.into())))), go_to("ip6-carried")],
        )
        .rule("of none", [is(source(), number(0)), go_to("ip6-unspecified")]);
}

/// The address that follows from a hardware address (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..].copy_from_slice(&[mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]]);
    bytes.into()
}

fn version() -> Statement {
    is(masked(packet(0, 8), 0xf0), number(0x60))
}

/// What comes next, behind the header.
fn next(header: u128) -> Statement {
    is(packet(48, 8), number(header))
}

/// So many bytes behind the header.
fn length(bytes: u128) -> Statement {
    is(packet(32, 16), number(bytes))
}

/// So many bytes behind the header, which are of `ICMPv6`.
fn message(bytes: u128) -> Statement {
    is(packet(32, 24), number(bytes << 8 | 0x3a))
}

/// The type of a message.
fn kind(kind: u128) -> Statement {
    is(packet(320, 8), number(kind))
}

/// The address that neighbour discovery is about.
fn target(own: [Ipv6Addr; 2]) -> Statement {
    is(packet(384, 128), any(own.map(|address| number(address.into()))))
}

/// An option of eight bytes with a hardware address.
fn option(offset: u32, kind: u128, facts: &Facts<'_>) -> Statement {
    is(packet(offset, 64), number((kind << 8 | 1) << 48 | facts.mac_number()))
}

/// Of eight bytes, which are random (RFC 7527).
fn nonce() -> Statement {
    is(packet(512, 16), number(0x0e01))
}

/// Protocols that are carried as they are: IPv4, IPv6, GRE, ESP, SCTP.
fn others() -> Value {
    any([number(4), number(41), number(47), number(50), number(132)])
}

/// What has no address yet: is its address anybody's, are there routers, and groups it is in.
fn unspecified(program: &mut Program, own: [Ipv6Addr; 2]) {
    program
        .chain("ip6-unspecified")
        .rule("are there routers", [version(), message(8), kind(133), accept()])
        .rule("has anybody its address", [version(), message(24), kind(135), target(own), accept()])
        .rule("the same, once", [version(), message(32), kind(135), target(own), nonce(), accept()])
        .rule("groups it is in", [version(), next(0), go_to("ip6-groups")]);
}

/// What is in a packet.
fn carried(program: &mut Program) {
    program
        .chain("ip6-carried")
        .rule("another version", [is_not(masked(packet(0, 8), 0xf0), number(0x60)), drop()])
        .rule("TCP", [next(6), accept()])
        .rule("UDP", [next(17), go_to("ip6-udp")])
        .rule("ICMPv6", [next(58), go_to("ip6-icmp")])
        .rule("fragments", [next(44), go_to("ip6-fragment")])
        .rule("groups it is in", [next(0), go_to("ip6-groups")])
        .rule("other protocols", [is(packet(48, 8), others()), accept()]);
}

/// Messages of hosts alone.
fn messages(program: &mut Program) {
    program
        .chain("ip6-icmp")
        .rule("errors", [is(packet(320, 8), range(1, 4)), accept()])
        .rule("echoes", [is(packet(320, 8), range(128, 129)), accept()])
        .rule("are there routers", [kind(133), go_to("ip6-router-solicitation")])
        .rule("who has an address", [kind(135), go_to("ip6-solicitation")])
        .rule("who it is", [kind(136), go_to("ip6-advertisement")]);
    // A header of eight bytes with whatever option, and what hosts tell of groups (RFC 3810).
    program.chain("ip6-groups").rule(
        "groups it is in",
        [
            is(packet(320, 16), number(0x3a00)),
            is(packet(384, 8), any([range(131, 132), number(143)])),
            accept(),
        ],
    );
    let [server, client] =
        [(320, 547), (336, 546)].map(|(place, port)| is_not(packet(place, 16), number(port)));
    program
        .chain("ip6-udp")
        .rule("neither a server of DHCPv6, nor to its clients", [server, client, accept()]);
}

fn discovery(program: &mut Program, facts: &Facts<'_>, own: Option<[Ipv6Addr; 2]>) {
    program
        .chain("ip6-router-solicitation")
        .rule("without options", [length(8), accept()])
        .rule("from its hardware address", [length(16), option(384, 1, facts), accept()]);
    program
        .chain("ip6-solicitation")
        .rule("without options", [length(24), accept()])
        .rule("from its hardware address", [length(32), option(512, 1, facts), accept()])
        .rule("once", [length(32), nonce(), accept()]);
    let mut chain = program.chain("ip6-own");
    chain
        .rule("without options", [length(24), accept()])
        .rule("its hardware address", [length(32), option(512, 2, facts), accept()]);
    let mut chain = program.chain("ip6-advertisement");
    match own {
        Some(own) => chain.rule("its own address", [target(own), go_to("ip6-own")]),
        None => chain.rule("any address", [go_to("ip6-own")]),
    };
}

/// The first one says what all are of (RFC 8200, 4.5), and shows its ports and types.
fn fragments(program: &mut Program) {
    let later = || is_not(masked(packet(336, 16), 0xfff8), number(0));
    program
        .chain("ip6-fragment")
        .rule("UDP", [kind(17), go_to("ip6-fragment-udp")])
        .rule("ICMPv6", [kind(58), go_to("ip6-fragment-icmp")]);
    program
        .chain("ip6-fragment-udp")
        .rule("the rest of a datagram", [later(), accept()])
        .rule("a server of DHCPv6", [is(packet(384, 16), number(547)), drop()])
        .rule("not to clients of DHCPv6", [is_not(packet(400, 16), number(546)), accept()]);
    program
        .chain("ip6-fragment-icmp")
        .rule("the rest of a message", [later(), accept()])
        .rule("echoes", [is(packet(384, 8), range(128, 129)), accept()]);
}

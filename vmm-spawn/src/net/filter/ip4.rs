//! IPv4.
//!
//! Fragments pass: the first one shows its ports and types, as they are in its first eight bytes,
//! and no other can change them: each that begins at zero is judged.

use std::net::Ipv4Addr;

use super::frames::Facts;
use super::words::{
    Program, Statement, Value, accept, any, go_to, is, is_not, masked, number, packet, range,
};

/// The chain `ip4`.
pub fn rules(program: &mut Program, facts: &Facts<'_>) {
    upper(program);
    carried(program);
    let Some(own) = facts.address else {
        program.chain("ip4").rule("of any address", [go_to("ip4-carried")]);
        return;
    };
    unspecified(program);
    let from = |it: Ipv4Addr| is(packet(96, 32), number(u32::from(it).into()));
    program
        .chain("ip4")
        .rule("of its address", [from(own), go_to("ip4-carried")])
        .rule("of none", [from(Ipv4Addr::UNSPECIFIED), go_to("ip4-unspecified")]);
}

/// Version and length of the header, without options.
fn plain() -> Statement {
    is(packet(0, 8), number(0x45))
}

/// Neither a fragment nor the first of some.
fn whole() -> Statement {
    is(masked(packet(48, 16), 0x3fff), number(0))
}

/// A fragment that is not the first.
fn later() -> Statement {
    is_not(masked(packet(48, 16), 0x1fff), number(0))
}

fn protocol(protocol: u128) -> Statement {
    is(packet(72, 8), number(protocol))
}

/// What has no address yet: a client of DHCP asks everybody.
fn unspecified(program: &mut Program) {
    let everybody = is(packet(128, 32), number(0xffff_ffff));
    let ports = is(packet(160, 32), number(0x0044_0043));
    program
        .chain("ip4-unspecified")
        .rule("a client of DHCP", [plain(), whole(), protocol(17), everybody, ports, accept()]);
}

/// What is in a packet: nothing with options but what hosts tell of groups.
fn carried(program: &mut Program) {
    program
        .chain("ip4-carried")
        .rule("options", [is_not(packet(0, 8), number(0x45)), go_to("ip4-options")])
        .rule("TCP", [protocol(6), accept()])
        .rule("UDP", [protocol(17), go_to("ip4-udp")])
        .rule("ICMP", [protocol(1), go_to("ip4-icmp")])
        .rule("groups it is in", [whole(), protocol(2), is(packet(160, 8), membership()), accept()])
        .rule(
            "neither routers of groups, nor what asks for members",
            [is_not(packet(72, 8), any([number(2), number(103)])), accept()],
        );
}

/// What hosts tell of groups (RFC 3376).
fn membership() -> Value {
    any([number(0x12), number(0x22), range(0x16, 0x17)])
}

fn upper(program: &mut Program) {
    let group = is(packet(192, 8), membership());
    program.chain("ip4-options").rule(
        "groups it is in",
        [is(packet(0, 8), number(0x46)), whole(), protocol(2), group, accept()],
    );
    // In a fragment that is not the first, no ports are where they are compared, and it passes
    // whatever is there.
    let [server, client] =
        [(160, 67), (176, 68)].map(|(place, port)| is_not(packet(place, 16), number(port)));
    program
        .chain("ip4-udp")
        .rule("neither a server of DHCP, nor to its clients", [server, client, accept()])
        .rule("the rest of a datagram", [later(), accept()]);
    program
        .chain("ip4-icmp")
        .rule(
            "neither redirects nor router advertisements",
            [is_not(packet(160, 8), any([number(5), number(9)])), accept()],
        )
        .rule("the rest of a message", [later(), accept()]);
}

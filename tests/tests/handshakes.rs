//! Places for peers that are not known yet: few for one address, some for all together, and they
//! come back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use vmm_proto::message::client::{Reply, Request, ToServer};
use vmm_tests::forge::Forge;
use vmm_tests::peer::{Credentials, Peer};
use vmm_tests::setup::Setup;
use xtask::house::wait_until;

/// Handshakes of one address (rule 1).
const OF_ONE: usize = 8;

/// Handshakes of all addresses together (rule 1), by as many addresses as it takes.
const SOURCES: usize = 64 / OF_ONE;

/// Whether somebody with a good chain gets in, from 127.0.0.1.
fn gets_in(setup: &Setup) -> bool {
    let leaf = Forge::root("ca root").permissions("x", &[0], |_| {}).sign();
    let config = Credentials::forged(&leaf).config();
    let Ok(mut peer) = Peer::connect(setup.house.address, config) else { return false };
    let asked = peer.send(1, &ToServer::Open(Request::Quota));
    asked.is_ok()
        && loop {
            match peer.receive() {
                Ok(Some((1, Reply::Done))) => break true,
                Ok(Some((1, Reply::Quota(_)))) => {}
                Err(_) | Ok(None) => break false,
                other => panic!("{other:?}"),
            }
        }
}

/// A connection from 127.0.0.`last` that says nothing.
fn silent(setup: &Setup, last: u8) -> TcpStream {
    let flags = SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    bind(&stream, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))).unwrap();
    connect(&stream, &setup.house.address).unwrap();
    stream.into()
}

/// Whether the server has not closed yet.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Eight from one address: one that was turned away, or given up since, is followed by another.
fn fill(setup: &Setup, silent_ones: &mut Vec<TcpStream>, last: u8) {
    silent_ones.retain(is_open);
    silent_ones.resize_with(OF_ONE, || silent(setup, last));
}

#[test]
fn one_address_gets_eight_handshakes_at_once() {
    let setup = Setup::forged();
    let mut stalled = Vec::new();
    wait_until("the ninth is turned away", || {
        fill(&setup, &mut stalled, 1);
        !gets_in(&setup)
    })
    .unwrap();
    assert!(setup.admin(&["info"]).code == Some(0), "the local socket is another door");
    drop(stalled);
    wait_until("places come back", || gets_in(&setup)).unwrap();
}

#[test]
fn all_addresses_together_get_sixty_four_handshakes_at_once() {
    let setup = Setup::forged();
    let mut stalled: Vec<Vec<TcpStream>> = Vec::new();
    stalled.resize_with(SOURCES, Vec::new);
    let all = 11..;
    // Whoever is turned away has no other handshake of its own.
    wait_until("the sixty-fifth is turned away", || {
        for (of_one, last) in stalled.iter_mut().zip(all.clone()) {
            fill(&setup, of_one, last);
        }
        !gets_in(&setup)
    })
    .unwrap();
    stalled.pop();
    wait_until("places come back", || gets_in(&setup)).unwrap();
}

//! Frames, without a device: what the samples for networks answer and send. It does not depend on
//! Solo5, so `cargo test -p frames` tests it where it is built.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod answer;
mod arp;
mod buffer;
mod checksum;
mod icmp6;
mod ipv4;
mod ipv6;
pub mod lies;
mod settings;

pub use answer::{Answer, Host, link_local, solicited_node};
pub use arp::{Arp, REPLY, REQUEST};
pub use buffer::{Buffer, FRAME_MAX};
pub use icmp6::{ADVERTISEMENT, Neighbour, SOLICITATION};
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use settings::{Settings, Unreadable};

/// A hardware address.
pub type Mac = [u8; 6];

/// To everybody.
pub const BROADCAST: Mac = [0xFF; 6];

/// The `EtherType` of IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// The `EtherType` of ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// The `EtherType` of IPv6.
pub const TYPE_IPV6: u16 = 0x86DD;

/// The protocol number of ICMP.
pub const ICMP: u8 = 1;
/// The protocol number of UDP.
pub const UDP: u8 = 17;
/// The protocol number of `ICMPv6`.
pub const ICMP6: u8 = 58;

/// The size of an Ethernet header.
const ETHERNET: usize = 14;

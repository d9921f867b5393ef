//! Putting a tap on its bridge, where its machine's hardware address must be nobody else's.

use netlink_packet_route::link::{InfoPortData, InfoPortKind, LinkAttribute, LinkInfo};
use netlink_packet_route::neighbour::NeighbourState;
use rustix::io::Errno;
use tracing::info;
use vmm_proto::message::spawn::Interface;

use super::link::{Link, Mac};
use super::port;
use super::tap::{Maker, TapError, TapFacts, failed, hex};

impl Maker<'_> {
    /// Makes it a port of the bridge, behind which there is one address, for ever.
    pub(super) fn plug(&mut self, facts: &TapFacts<'_>, bridge: &Link) -> Result<(), TapError> {
        let Interface { mac, .. } = *facts.interface;
        let port = vec![LinkAttribute::Controller(bridge.index)];
        self.netlink.change_link(facts.index, port).map_err(failed("put the tap on the bridge"))?;
        let info = vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(port::settings())),
        ];
        let info = vec![LinkAttribute::LinkInfo(info)];
        self.netlink.change_link(facts.index, info).map_err(failed("set the bridge port up"))?;
        self.keep_address(bridge)?;
        if bridge.mac == Some(mac) {
            return Err(taken(bridge, mac, "the bridge's own".to_owned()));
        }
        match self.netlink.pin(facts.index, mac) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                let whose = self.whose(bridge, mac)?;
                Err(taken(bridge, mac, whose))
            }
            pinned => pinned.map_err(failed("tell the bridge the machine's hardware address")),
        }
    }

    /// A bridge without an address of its own takes the lowest of its ports, which may be that of
    /// a tap, and changes when it goes: then it gets the one that it had.
    fn keep_address(&mut self, before: &Link) -> Result<(), TapError> {
        let now = self.netlink.link_at(before.index).map_err(failed("look at the bridge"))?;
        let now = now.ok_or_else(|| TapError::NoBridge(before.name.clone()))?;
        let Some(mac) = before.mac.filter(|_| now.mac != before.mac) else { return Ok(()) };
        let address = vec![LinkAttribute::Address(mac.to_vec())];
        self.netlink
            .change_link(before.index, address)
            .map_err(failed("have the bridge keep its hardware address"))?;
        info!(bridge = before.name, mac = hex(&mac), "the bridge keeps its hardware address");
        Ok(())
    }

    /// Who has an address that a bridge knows, in words.
    fn whose(&mut self, bridge: &Link, mac: Mac) -> Result<String, TapError> {
        let what = "look at what the bridge knows";
        let known = match self.netlink.behind(bridge.index, mac).map_err(failed(what))? {
            None if bridge.keeps_vlans_apart => {
                self.netlink.behind_anywhere(bridge.index, mac).map_err(failed(what))?
            }
            known => known,
        };
        let Some(entry) = known else { return Ok("known to it".to_owned()) };
        if entry.port == bridge.index {
            return Ok("the bridge's own".to_owned());
        }
        let port = self.netlink.link_at(entry.port).map_err(failed(what))?;
        let port = port.map_or_else(|| entry.port.to_string(), |link| link.name);
        Ok(match entry.state {
            NeighbourState::Permanent => format!("that of this host's interface {port}"),
            _ => format!("behind {port}"),
        })
    }
}

fn taken(bridge: &Link, mac: Mac, whose: String) -> TapError {
    TapError::Taken { bridge: bridge.name.clone(), mac, whose }
}

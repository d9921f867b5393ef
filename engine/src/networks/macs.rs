//! Hardware addresses: those that are asked for, and those that nobody asked for.

use sha2::{Digest as _, Sha256};
use vmm_proto::id::Digest;
use vmm_proto::name::MachineName;
use vmm_proto::resource::{BridgeName, DeviceName, Network};

use super::plan::Draft;
use super::refusal::NetworkRefusal;

/// The `attempt`-th hardware address of a machine's network: a unicast one of those that nobody
/// registers (the second lowest bit of its first byte is set), the same each time. The host's key is
/// in it, as machines of the same name may run on other hosts of one network.
fn derived(host: &Digest, name: &MachineName, device: &DeviceName, attempt: u32) -> [u8; 6] {
    let mut hash = Sha256::new();
    hash.update(host.0);
    // Neither has a zero byte.
    hash.update(name.to_string());
    hash.update([0]);
    hash.update(device.as_str());
    hash.update([0]);
    hash.update(attempt.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    [0x02, hash[0], hash[1], hash[2], hash[3], hash[4]]
}

impl Draft<'_> {
    /// Those that are asked for first, so that none is derived that is asked for further down.
    pub(super) fn give_macs(&mut self) {
        for (index, network) in self.asked().iter().enumerate() {
            let Some(mac) = network.mac else { continue };
            let (device, bridge) = (network.device.clone(), network.bridge.clone());
            if self.mac_is_mine(&bridge, mac) {
                self.faults.push(NetworkRefusal::MacTwice { device, bridge, mac });
            } else if let Some(by) = self.mac_holder(&bridge, mac) {
                let by = self.told(by);
                self.faults.push(NetworkRefusal::MacInUse { device, bridge, mac, by });
            }
            self.networks[index].mac = Some(mac);
        }
        for (index, network) in self.asked().iter().enumerate() {
            if network.mac.is_none() {
                self.networks[index].mac = self.derived(network);
            }
        }
    }

    /// The hardware address that the same device had, or the first one that is free.
    fn derived(&self, network: &Network) -> Option<[u8; 6]> {
        let had = self.wanted.had.iter().filter(|had| had.derived).map(|had| had.interface);
        let former = had
            .filter(|it| it.bridge == network.bridge && it.device == network.device)
            .map(|it| it.mac);
        // There is an end: no more are taken than there are interfaces.
        let attempts = (0..=u32::MAX).map(|attempt| {
            derived(&self.engine.networks.host, self.wanted.name, &network.device, attempt)
        });
        former.chain(attempts).find(|mac| {
            !self.mac_is_mine(&network.bridge, *mac)
                && self.mac_holder(&network.bridge, *mac).is_none()
        })
    }

    fn mac_is_mine(&self, bridge: &BridgeName, mac: [u8; 6]) -> bool {
        let mut networks = self.asked().iter().zip(&self.networks);
        networks.any(|(network, planned)| network.bridge == *bridge && planned.mac == Some(mac))
    }

    fn mac_holder(&self, bridge: &BridgeName, mac: [u8; 6]) -> Option<&MachineName> {
        let holder = self.on(bridge)?.macs.holder(&mac)?;
        (holder != self.wanted.name).then_some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_follow_from_host_name_device_and_attempt() {
        let of = |host, name: &str, device: &str, attempt| {
            let name = MachineName::parse(name).unwrap();
            derived(&Digest([host; 32]), &name, &DeviceName::parse(device).unwrap(), attempt)
        };
        let all = [
            of(0, "dev/a", "net", 0),
            of(1, "dev/a", "net", 0),
            of(0, "dev/b", "net", 0),
            of(0, "dev/a", "net2", 0),
            of(0, "dev/a", "net", 1),
        ];
        assert_eq!(all[0], of(0, "dev/a", "net", 0));
        for (index, one) in all.iter().enumerate() {
            assert_eq!(one[0], 2, "unicast, and locally administered");
            assert!(!all[..index].contains(one));
        }
    }
}

//! Grants as raw fields: whatever stands in them, they can be written.

use super::der;

/// A SEQUENCE with automatic tags, field by field. A field may be changed, moved, dropped or
/// written wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: &'static str,
    tag: u8,
    content: Vec<u8>,
    /// Written with a length that is longer than need be.
    long: bool,
}

impl Fields {
    /// The same fields behind the last one.
    #[must_use]
    pub fn and(mut self, name: &'static str, tag: u8, content: Vec<u8>) -> Self {
        self.push(name, tag, content);
        self
    }

    /// No fields.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a field behind the last one.
    pub fn push(&mut self, name: &'static str, tag: u8, content: Vec<u8>) {
        self.0.push(Field { name, tag, content, long: false });
    }

    fn place(&self, name: &str) -> usize {
        self.0.iter().position(|field| field.name == name).unwrap_or_else(|| {
            panic!("there is no field \"{name}\" among {:?}", self.0);
        })
    }

    /// Puts other content octets into a field.
    pub fn set(&mut self, name: &str, content: Vec<u8>) {
        let place = self.place(name);
        self.0[place].content = content;
    }

    /// Makes a field the given INTEGER.
    pub fn number(&mut self, name: &str, value: u64) {
        self.set(name, der::unsigned(value));
    }

    /// Makes a field a SEQUENCE OF the given elements.
    pub fn list(&mut self, name: &str, elements: &[Vec<u8>]) {
        self.set(name, elements.concat());
    }

    /// Makes a field a SEQUENCE OF INTEGER.
    pub fn numbers(&mut self, name: &str, values: &[u64]) {
        self.list(name, &values.iter().map(|value| der::integer(*value)).collect::<Vec<_>>());
    }

    /// Makes a field a SEQUENCE OF OCTET STRING.
    pub fn octets(&mut self, name: &str, values: &[&[u8]]) {
        let strings: Vec<_> =
            values.iter().map(|value| der::tlv(der::OCTET_STRING, value)).collect();
        self.list(name, &strings);
    }

    /// Leaves a field out.
    pub fn drop(&mut self, name: &str) {
        let place = self.place(name);
        self.0.remove(place);
    }

    /// Gives a field another tag.
    pub fn tag(&mut self, name: &str, tag: u8) {
        let place = self.place(name);
        self.0[place].tag = tag;
    }

    /// Writes a field with one octet of length too many.
    pub fn long_length(&mut self, name: &str) {
        let place = self.place(name);
        self.0[place].long = true;
    }

    /// Writes a field a second time, right behind itself.
    pub fn twice(&mut self, name: &str) {
        let place = self.place(name);
        self.0.insert(place, self.0[place].clone());
    }

    /// Exchanges two fields.
    pub fn swap(&mut self, one: &str, other: &str) {
        let (one, other) = (self.place(one), self.place(other));
        self.0.swap(one, other);
    }

    /// The fields, one behind the other.
    pub fn content(&self) -> Vec<u8> {
        let write = |field: &Field| {
            let write = if field.long { der::tlv_long } else { der::tlv };
            write(field.tag, &field.content)
        };
        self.0.iter().flat_map(write).collect()
    }

    /// The fields as an element with the given tag.
    pub fn element(&self, tag: u8) -> Vec<u8> {
        der::tlv(tag, &self.content())
    }
}

/// What stands in the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// `delegation [0]`
    Delegation(Fields),
    /// `permissions [1]`: the content octets of the BIT STRING.
    Permissions(Vec<u8>),
    /// `machine [2]`
    Machine(Fields),
}

impl Grant {
    /// In DER, as far as its fields are.
    pub fn to_der(&self) -> Vec<u8> {
        match self {
            Self::Delegation(fields) => fields.element(der::constructed(0)),
            Self::Permissions(bits) => der::tlv(der::context(1), bits),
            Self::Machine(fields) => fields.element(der::constructed(2)),
        }
    }
}

/// A plain delegation: 10 machines, 1024 MiB, CPUs 0 to 3, 2048 MiB of storage, the bridge
/// `service` with IPv4 and IPv6 addresses and the bridge `plain` without; for any host.
pub fn delegation() -> Fields {
    let mut fields = Fields::none()
        .and("generation", der::context(0), der::unsigned(1))
        .and("machines", der::context(1), der::unsigned(10))
        .and("memory", der::context(2), der::unsigned(1024))
        .and("cpus", der::constructed(3), Vec::new())
        .and("storage", der::context(4), der::unsigned(2048))
        .and("bridges", der::constructed(5), Vec::new());
    fields.numbers("cpus", &[0, 1, 2, 3]);
    let service = bridge("service", Some(&range4()), Some(&range6()));
    fields.list("bridges", &[service, bridge("plain", None, None)]);
    fields
}

/// Adds `hosts` to a delegation.
pub fn hosts(delegation: &mut Fields, keys: &[&[u8]]) {
    delegation.push("hosts", der::constructed(6), Vec::new());
    delegation.octets("hosts", keys);
}

/// One bridge of a delegation.
pub fn bridge(name: &str, range: Option<&Fields>, range6: Option<&Fields>) -> Vec<u8> {
    let mut fields = Fields::none().and("name", der::context(0), name.as_bytes().to_vec());
    if let Some(range) = range {
        fields.push("range", der::constructed(1), range.content());
    }
    if let Some(range) = range6 {
        fields.push("range6", der::constructed(2), range.content());
    }
    fields.element(der::SEQUENCE)
}

/// A range of addresses, whatever their family and however wrong.
pub fn range(first: &[u8], last: &[u8], gateway: &[u8], prefix: u64) -> Fields {
    Fields::none()
        .and("first", der::context(0), first.to_vec())
        .and("last", der::context(1), last.to_vec())
        .and("gateway", der::context(2), gateway.to_vec())
        .and("prefix", der::context(3), der::unsigned(prefix))
}

/// 192.0.2.10 to 192.0.2.99 behind 192.0.2.1 in a subnet of 24 bits.
pub fn range4() -> Fields {
    range(&[192, 0, 2, 10], &[192, 0, 2, 99], &[192, 0, 2, 1], 24)
}

/// `2001:db8::10` to `2001:db8::99` behind `2001:db8::1` in a subnet of 64 bits.
pub fn range6() -> Fields {
    range(&documentation6(0x10), &documentation6(0x99), &documentation6(1), 64)
}

/// The address `2001:db8::` with the given last octet.
pub const fn documentation6(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// A plain machine: an image by digest, 32 MiB, CPU 0, no devices, two arguments, never restarted.
pub fn machine() -> Fields {
    let mut fields = Fields::none()
        .and("image", der::constructed(0), by_digest(&[7; 32], 4096))
        .and("memory", der::context(1), der::unsigned(32))
        .and("cpus", der::constructed(2), Vec::new())
        .and("networks", der::constructed(3), Vec::new())
        .and("volumes", der::constructed(4), Vec::new())
        .and("arguments", der::constructed(5), Vec::new())
        .and("restart", der::constructed(6), der::tlv(der::context(0), &[]))
        .and("replace", der::context(7), vec![0])
        .and("priority", der::context(8), der::unsigned(50));
    fields.numbers("cpus", &[0]);
    arguments(&mut fields, &["--name=world", "two"]);
    fields
}

/// `Image.digest`
pub fn by_digest(sha256: &[u8], size: u64) -> Vec<u8> {
    Fields::none()
        .and("sha256", der::context(0), sha256.to_vec())
        .and("size", der::context(1), der::unsigned(size))
        .element(der::constructed(1))
}

/// `Image.embedded`
pub fn embedded(encoding: u64, size: u64, data: &[u8]) -> Vec<u8> {
    Fields::none()
        .and("encoding", der::context(0), der::unsigned(encoding))
        .and("size", der::context(1), der::unsigned(size))
        .and("data", der::context(2), data.to_vec())
        .element(der::constructed(0))
}

/// Gives a machine these arguments.
pub fn arguments(machine: &mut Fields, words: &[&str]) {
    let words: Vec<_> =
        words.iter().map(|word| der::tlv(der::UTF8_STRING, word.as_bytes())).collect();
    machine.list("arguments", &words);
}

/// One network of a machine.
pub fn network(device: &str, bridge: &str, mac: Option<&[u8]>) -> Vec<u8> {
    let mut fields = Fields::none().and("device", der::context(0), device.as_bytes().to_vec()).and(
        "bridge",
        der::context(1),
        bridge.as_bytes().to_vec(),
    );
    if let Some(mac) = mac {
        fields.push("mac", der::context(2), mac.to_vec());
    }
    fields.element(der::SEQUENCE)
}

/// One volume of a machine.
pub fn volume(device: &str, volume: &str, sector_size: Option<u64>) -> Vec<u8> {
    let mut fields = Fields::none().and("device", der::context(0), device.as_bytes().to_vec()).and(
        "volume",
        der::context(1),
        volume.as_bytes().to_vec(),
    );
    if let Some(size) = sector_size {
        fields.push("sectorSize", der::context(2), der::unsigned(size));
    }
    fields.element(der::SEQUENCE)
}

/// `Restart.onFailure`
pub fn on_failure(codes: &[u64], limit: u64) -> Vec<u8> {
    let mut fields = Fields::none().and("codes", der::constructed(0), Vec::new()).and(
        "limit",
        der::context(1),
        der::unsigned(limit),
    );
    fields.numbers("codes", codes);
    fields.element(der::constructed(1))
}

//! Attributes of netlink as they are sent, and whether those that come back are the same.

use netlink_packet_core::{Emitable, Nla, NlasIterator};

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    kind: u16,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    /// Attributes, and kinds of those which the kernel adds.
    Nested(Vec<Attribute>, &'static [u16]),
}

impl Attribute {
    /// With bytes as they are.
    pub fn bytes(kind: u16, bytes: &[u8]) -> Self {
        Self { kind, value: Value::Bytes(bytes.to_vec()) }
    }

    /// With a number, in network order like all numbers of nftables.
    pub fn number(kind: u16, number: u32) -> Self {
        Self::bytes(kind, &number.to_be_bytes())
    }

    /// With a number of 64 bits.
    pub fn long(kind: u16, number: u64) -> Self {
        Self::bytes(kind, &number.to_be_bytes())
    }

    /// With a text, which a zero ends.
    pub fn text(kind: u16, text: &str) -> Self {
        Self::bytes(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// With attributes.
    pub fn nested(kind: u16, all: Vec<Self>) -> Self {
        Self { kind, value: Value::Nested(all, &[]) }
    }

    /// With attributes, to which the kernel adds some of these kinds.
    pub fn nested_besides(kind: u16, all: Vec<Self>, added: &'static [u16]) -> Self {
        Self { kind, value: Value::Nested(all, added) }
    }

    fn is(&self, found: &[u8]) -> bool {
        match &self.value {
            Value::Bytes(bytes) => bytes == found,
            Value::Nested(all, added) => same(all, found, added),
        }
    }
}

impl Nla for Attribute {
    fn value_len(&self) -> usize {
        match &self.value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Nested(all, _) => all.as_slice().buffer_len(),
        }
    }

    fn kind(&self) -> u16 {
        self.kind
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match &self.value {
            Value::Bytes(bytes) => buffer.copy_from_slice(bytes),
            Value::Nested(all, _) => all.as_slice().emit(buffer),
        }
    }
}

/// Whether the kernel's attributes are these, in whatever order of their kinds, but for such of
/// the kinds in `added`. What it aligns others with has no content, and is none.
pub fn same(ordered: &[Attribute], found: &[u8], added: &[u16]) -> bool {
    let Ok(mut found) = NlasIterator::new(found).collect::<Result<Vec<_>, _>>() else {
        return false;
    };
    found.retain(|it| !it.value().is_empty() && !added.contains(&it.kind()));
    // Those of one kind, as in lists, keep their order.
    found.sort_by_key(netlink_packet_core::NlaBuffer::kind);
    let mut ordered: Vec<_> = ordered.iter().collect();
    ordered.sort_by_key(|it| it.kind);
    ordered.len() == found.len()
        && ordered
            .iter()
            .zip(found)
            .all(|(it, found)| it.kind == found.kind() && it.is(found.value()))
}

/// The content of the first attribute of a kind.
pub fn bytes_of(attributes: &[u8], kind: u16) -> Option<Vec<u8>> {
    let found = NlasIterator::new(attributes).flatten().find(|it| it.kind() == kind)?;
    Some(found.value().to_vec())
}

/// The same up to a zero.
pub fn text_of(attributes: &[u8], kind: u16) -> Option<String> {
    let found = bytes_of(attributes, kind)?;
    let text = found.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(all: &[Attribute]) -> Vec<u8> {
        let mut bytes = vec![0; all.buffer_len()];
        all.emit(&mut bytes);
        bytes
    }

    #[test]
    fn attributes_are_the_same_in_any_order_but_that_of_a_list() {
        let [one, two, text] =
            [Attribute::number(1, 7), Attribute::number(2, 8), Attribute::text(3, "it")];
        let all = [one.clone(), two.clone(), text.clone()];
        assert!(same(&all, &sent(&[text.clone(), one.clone(), two.clone()]), &[]));
        assert!(!same(&all, &sent(&[one.clone(), two.clone()]), &[]));
        assert!(!same(&all[..2], &sent(&all), &[]));
        assert!(same(&all[..2], &sent(&all), &[3]));
        assert!(!same(&all, &sent(&[one.clone(), Attribute::number(2, 9), text]), &[]));
        let list = |first: u32, second: u32| {
            [Attribute::nested(4, vec![Attribute::number(1, first), Attribute::number(1, second)])]
        };
        assert!(same(&list(1, 2), &sent(&list(1, 2)), &[]));
        assert!(!same(&list(1, 2), &sent(&list(2, 1)), &[]));
    }

    #[test]
    fn attributes_that_are_cut_short_are_others() {
        let all = [Attribute::number(1, 7), Attribute::number(2, 8)];
        let whole = sent(&all);
        for length in 0..whole.len() {
            assert!(!same(&all, &whole[..length], &[]), "{length}");
        }
    }
}

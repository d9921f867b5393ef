//! What a guest is told of its addresses, as MirageOS takes it: `--ipv4=A/P`, `--ipv4-gateway=G` and
//! the same of IPv6, each for the network of its group; with several networks the group is the
//! device's name: `--service-ipv4=A/P`.
//!
//! Words that are added stand before the machine's own. Behind them, a last word that waits for its
//! value would swallow one, and `--` would make them mean something else. Nothing that is set by the
//! machine's own words is added, so that neither overrides the other (MirageOS takes no option
//! twice); and whatever a guest makes of them, nothing but its address leaves its interface.

use std::collections::HashMap;
use std::net::IpAddr;

use vmm_proto::resource::{AddressRange, Arguments, DeviceName, Family};

use super::numbers::{address, number};
use super::refusal::NetworkRefusal;

/// The options that stand in a machine's own arguments, and their values: `--name=value`, or
/// `--name value` in two words. A guest gets one line, with spaces between the words: so a word with
/// spaces in it is several here too. Quotes mean nothing: which guests know them is not known.
#[derive(Debug)]
pub(super) struct Options<'a>(HashMap<&'a str, Vec<Option<&'a str>>>);

/// At most so many ways out are named in a refusal.
const SHOWN: usize = 4;

/// What is said of one family of one network: the options' names, without dashes before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    group: String,
    family: &'static str,
}

impl Names {
    fn address(&self) -> String {
        format!("{}{}", self.group, self.family)
    }

    /// The option of the address, as it is written.
    pub(super) fn option(&self) -> String {
        dashed(&self.address())
    }

    fn gateway(&self) -> String {
        format!("{}{}-gateway", self.group, self.family)
    }
}

const fn of_family(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

impl<'a> Options<'a> {
    pub(super) fn of(arguments: &'a Arguments) -> Self {
        let mut options: HashMap<_, Vec<_>> = HashMap::new();
        let words = arguments.words().iter().flat_map(|word| word.split(' '));
        // Behind this word nothing is an option.
        let words = words.filter(|word| !word.is_empty()).take_while(|word| *word != "--");
        let mut words = words.peekable();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else { continue };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, words.peek().copied()),
            };
            options.entry(name).or_default().push(value);
        }
        Self(options)
    }

    /// How the options of a network are called: with the device's name before them if there are
    /// `several` networks, or if the machine's own arguments do so.
    pub(super) fn names(&self, device: &DeviceName, several: bool, family: Family) -> Names {
        let group = format!("{device}-");
        let own = || {
            [Family::V4, Family::V6].map(of_family).into_iter().any(|family| {
                let names = Names { group: group.clone(), family };
                [names.address(), names.gateway()].iter().any(|it| self.0.contains_key(&**it))
            })
        };
        let group = if several || own() { group } else { String::new() };
        Names { group, family: of_family(family) }
    }

    /// The value of an option that must not be given twice, nor without one.
    fn value(&self, name: &str) -> Result<Option<&'a str>, NetworkRefusal> {
        let Some(values) = self.0.get(name) else { return Ok(None) };
        match values.as_slice() {
            [Some(value)] => Ok(Some(value)),
            [None] => Err(wrong(name, "has no value")),
            _ => Err(wrong(name, "is given twice")),
        }
    }

    /// The address that the machine's own arguments set: its number, if the prefix is the range's.
    /// Whether the machine may have it is for the caller to judge.
    pub(super) fn address(&self, names: &Names, range: &AddressRange) -> Result<Option<u128>, Own> {
        let name = names.address();
        let Some(value) = self.value(&name)? else { return Ok(None) };
        let parsed = value.split_once('/').and_then(|(address, prefix)| {
            Some((ip(address, range.family())?, prefix.parse::<u8>().ok()?))
        });
        let Some((address, prefix)) = parsed else {
            let family = range.family();
            let example = address(family, number(range.first()));
            let like = format!("{example}/{}", range.prefix());
            return Err(wrong(&name, &format!("takes an {family} address and the bits of its subnet, such as {like}, not \"{value}\"")).into());
        };
        if prefix == range.prefix() {
            Ok(Some(number(address)))
        } else {
            let why = format!("its subnet has {} bits", range.prefix());
            Err(Own::NotDelegated { option: dashed(&name), value: value.to_owned(), why })
        }
    }

    /// Whether the machine's own arguments set the gateway, which has to be the delegated one.
    pub(super) fn has_gateway(&self, names: &Names, range: &AddressRange) -> Result<bool, Own> {
        let name = names.gateway();
        let Some(value) = self.value(&name)? else { return Ok(false) };
        match ip(value, range.family()) {
            None => {
                let why = format!("takes an {} address, not \"{value}\"", range.family());
                Err(wrong(&name, &why).into())
            }
            Some(gateway) if gateway == range.gateway() => Ok(true),
            Some(_) => {
                let why = format!("the gateway is {}", range.gateway());
                Err(Own::NotDelegated { option: dashed(&name), value: value.to_owned(), why })
            }
        }
    }

    /// The options without a device's name before them, where all networks need one: no network is
    /// meant by them, as far as anybody can tell, so that nothing would judge what they set.
    pub(super) fn of_no_network(&self, networks: &[Names], family: Family) -> Vec<NetworkRefusal> {
        if networks.iter().any(|names| names.group.is_empty()) {
            return Vec::new();
        }
        let bare = Names { group: String::new(), family: of_family(family) };
        let wrong = |name: fn(&Names) -> String| {
            let option = name(&bare);
            let named: Vec<_> = networks.iter().take(SHOWN).map(|it| dashed(&name(it))).collect();
            let named = named.join(" or ");
            let why = || {
                format!(
                    "does not say of which network; write {named}, or leave it out to be given \
                     what is right"
                )
            };
            self.0.contains_key(&*option).then(|| wrong(&option, &why()))
        };
        [Names::address, Names::gateway].into_iter().filter_map(wrong).collect()
    }

    /// The words that say what the machine's own arguments don't.
    pub(super) fn words(&self, names: &Names, range: &AddressRange, at: u128) -> Vec<String> {
        let (own, prefix) = (address(range.family(), at), range.prefix());
        let all = [
            (names.address(), format!("{own}/{prefix}")),
            (names.gateway(), range.gateway().to_string()),
        ];
        let missing = all.into_iter().filter(|(name, _)| !self.0.contains_key(&**name));
        missing.map(|(name, value)| format!("--{name}={value}")).collect()
    }
}

/// What is wrong with an address that the machine's own arguments set.
#[derive(Debug)]
pub(super) enum Own {
    /// It is not understood.
    Wrong(NetworkRefusal),
    /// It is not what the delegation gives.
    NotDelegated { option: String, value: String, why: String },
}

impl From<NetworkRefusal> for Own {
    fn from(refusal: NetworkRefusal) -> Self {
        Self::Wrong(refusal)
    }
}

/// An option's name as it is written.
fn dashed(name: &str) -> String {
    format!("--{name}")
}

fn wrong(name: &str, why: &str) -> NetworkRefusal {
    NetworkRefusal::Argument { option: dashed(name), why: why.to_owned() }
}

fn ip(text: &str, family: Family) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    (ip.is_ipv4() == (family == Family::V4)).then_some(ip)
}

//! PKCS#11 URIs (RFC 7512): which key of which token.

use std::fmt;
use std::path::PathBuf;

use crate::Error;

/// The scheme, with which every such URI begins.
pub const SCHEME: &str = "pkcs11:";

/// Where a key is, by what tells it apart from others. What is not said may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenUri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The slot's number.
    pub slot: Option<u64>,
    /// The key's label (`CKA_LABEL`).
    pub object: Option<String>,
    /// The key's id (`CKA_ID`).
    pub id: Option<Vec<u8>>,
    /// The library that speaks to the token.
    pub module: Option<PathBuf>,
    /// The file that the PIN is in.
    pub pin_source: Option<PathBuf>,
    /// The PIN itself.
    pub pin_value: Option<String>,
}

impl TokenUri {
    /// Parses a URI. An attribute that is not known here is an error: passing it over could mean
    /// another key.
    ///
    /// # Errors
    /// [`Error::Usage`]
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Usage(format!("not a PKCS#11 URI (RFC 7512): {what}"));
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin pkcs11:"))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let attributes = path.split(';').chain(query.split('&')).filter(|part| !part.is_empty());
        for attribute in attributes {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| wrong(&format!("{attribute:?} has no value")))?;
            let octets = decoded(value)
                .ok_or_else(|| wrong(&format!("{value:?} has a % without two digits")))?;
            uri.set(name, octets).map_err(|problem| wrong(&format!("{name}: {problem}")))?;
        }
        Ok(uri)
    }

    fn set(&mut self, name: &str, octets: Vec<u8>) -> Result<(), &'static str> {
        if name == "id" {
            return once(&mut self.id, octets);
        }
        let text = String::from_utf8(octets).map_err(|_| "not text in UTF-8")?;
        match name {
            "token" => once(&mut self.token, text),
            "serial" => once(&mut self.serial, text),
            "manufacturer" => once(&mut self.manufacturer, text),
            "model" => once(&mut self.model, text),
            "slot-id" => once(&mut self.slot, text.parse().map_err(|_| "not a number")?),
            "object" => once(&mut self.object, text),
            "type" if text == "private" => Ok(()),
            "type" => Err("must be private"),
            "module-path" => once(&mut self.module, PathBuf::from(text)),
            "pin-source" => {
                let file = text.strip_prefix("file:").unwrap_or(&text);
                // file:///etc/pin has an empty host in it.
                once(&mut self.pin_source, PathBuf::from(file.strip_prefix("//").unwrap_or(file)))
            }
            "pin-value" => once(&mut self.pin_value, text),
            _ => Err("an attribute that is not known here"),
        }
    }
}

/// Without the PIN.
impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, value) in [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("object", &self.object),
        ] {
            parts.extend(value.iter().map(|value| format!("{name}={value}")));
        }
        parts.extend(self.slot.iter().map(|slot| format!("slot-id={slot}")));
        parts.extend(self.id.iter().map(|id| {
            let octets: Vec<String> = id.iter().map(|octet| format!("%{octet:02x}")).collect();
            format!("id={}", octets.concat())
        }));
        write!(f, "{SCHEME}{}", parts.join(";"))
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), &'static str> {
    if place.replace(value).is_some() { Err("stands in it twice") } else { Ok(()) }
}

/// Undoes percent-encoding (RFC 3986, 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| {
        byte.and_then(|byte| char::from(byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut octets = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        octets.push(if byte == b'%' {
            digit(bytes.next())? << 4 | digit(bytes.next())?
        } else {
            byte
        });
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_token_key_module_and_where_the_pin_is() {
        let uri = "pkcs11:token=My%20token;object=ca;type=private;id=%01%ab?module-path=/x.so\
                   &pin-source=file:///etc/pin";
        let expected = TokenUri {
            token: Some("My token".to_owned()),
            object: Some("ca".to_owned()),
            id: Some(vec![1, 0xab]),
            module: Some("/x.so".into()),
            pin_source: Some("/etc/pin".into()),
            ..TokenUri::default()
        };
        assert_eq!(TokenUri::parse(uri).unwrap(), expected);
        let shown = TokenUri::parse("pkcs11:object=ca;slot-id=3?pin-value=1234").unwrap();
        assert_eq!(shown.to_string(), "pkcs11:object=ca;slot-id=3", "the PIN is not shown");
    }

    #[test]
    fn what_is_not_understood_is_no_uri() {
        for bad in [
            "ca.key",
            "pkcs11:object",
            "pkcs11:object=a;object=b",
            "pkcs11:object=%4",
            "pkcs11:object=%zz",
            "pkcs11:object=%ff",
            "pkcs11:type=public",
            "pkcs11:slot-id=x",
            "pkcs11:colour=red",
            "pkcs11:object=ca?module-name=softhsm",
        ] {
            assert!(matches!(TokenUri::parse(bad), Err(Error::Usage(_))), "{bad}");
        }
    }
}

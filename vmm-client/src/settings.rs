//! Where to connect and as whom: from options, the environment and a profile, in this order.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use rustls::pki_types::ServerName;

use crate::failure::Failure;
use crate::options::Global;
use crate::profile::Profile;

/// The port of a server when none is given.
const DEFAULT_PORT: u16 = 1025;

/// How to reach the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The local socket: what the peer's credentials allow.
    Local(PathBuf),
    /// TLS with certificates.
    Tls(Tls),
}

/// What a TLS connection needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub(crate) server: Server,
    /// Whom the server's certificate must name.
    pub(crate) name: ServerName<'static>,
    pub(crate) ca: PathBuf,
    pub(crate) crl: Option<PathBuf>,
    pub(crate) bundle: PathBuf,
    pub(crate) key: PathBuf,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Way {
    /// Decides it. Of the environment, an empty variable counts as not there.
    pub(crate) fn of(
        global: Global,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        if let Some(socket) = global.socket {
            let others = [
                ("--ca", global.ca.is_some()),
                ("--server", global.server.is_some()),
                ("--server-name", global.server_name.is_some()),
                ("--crl", global.crl.is_some()),
                ("--bundle", global.bundle.is_some()),
                ("--key", global.key.is_some()),
                ("--profile", global.profile.is_some()),
            ];
            return match others.iter().find(|(_, given)| *given) {
                Some((other, _)) => Err(Failure::usage(format!(
                    "--socket needs no certificates: leave out {other}, or --socket"
                ))),
                None => Ok(Self::Local(socket)),
            };
        }
        let profile = match &global.profile {
            Some(name) => Profile::load(name, &env)?,
            None => Profile::default(),
        };
        Tls::of(global, env, profile).map(Self::Tls)
    }
}

impl Tls {
    fn of(
        global: Global,
        env: impl Fn(&str) -> Option<OsString>,
        profile: Profile,
    ) -> Result<Self, Failure> {
        let set = |variable: &str| env(variable).filter(|value| !value.is_empty());
        let file = |option: Option<PathBuf>, variable: &str| {
            option.or_else(|| set(variable).map(PathBuf::from))
        };
        let missing = |what: &str, option: &str, variable: &str, key: &str| {
            Failure::usage(format!(
                "{what} is missing: give {option}, or set {variable}, or {key} in a profile \
                 (--profile)"
            ))
        };
        let server = match (global.server, set("VMM_SERVER")) {
            (Some(server), _) => Some(server),
            (None, Some(server)) => Some(server.into_string().map_err(|server| {
                Failure::usage(format!("VMM_SERVER: \"{}\" is not text", server.display()))
            })?),
            (None, None) => profile.server,
        };
        let server = server
            .ok_or_else(|| missing("the server", "--server HOST[:PORT]", "VMM_SERVER", "server"))?;
        let ca = file(global.ca, "VMM_CA").or(profile.ca);
        let bundle = file(global.bundle, "VMM_BUNDLE").or(profile.bundle);
        let key = file(global.key, "VMM_KEY").or(profile.key);
        let server = Server::parse(&server)?;
        let name = global.server_name.or(profile.server_name).unwrap_or(server.host.clone());
        let name = ServerName::try_from(name.clone()).map_err(|_| {
            Failure::usage(format!("{name:?} is neither a DNS name nor an IP address"))
        })?;
        Ok(Self {
            server,
            name,
            ca: ca.ok_or_else(|| missing("the root certificate", "--ca FILE", "VMM_CA", "ca"))?,
            crl: global.crl,
            bundle: bundle.ok_or_else(|| {
                missing("the certificate", "--bundle FILE", "VMM_BUNDLE", "bundle")
            })?,
            key: key.ok_or_else(|| missing("the private key", "--key FILE", "VMM_KEY", "key"))?,
        })
    }
}

impl Server {
    /// Parses `HOST[:PORT]`; an IPv6 address with a port stands in brackets.
    fn parse(text: &str) -> Result<Self, Failure> {
        let of = |host: &str, port| Self { host: host.to_owned(), port };
        let wrong = || {
            Failure::usage(format!(
                "{text:?} is not HOST or HOST:PORT (an IPv6 address with a port: [::1]:1025)"
            ))
        };
        let number = |port: &str| port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong);
        if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<IpAddr>().map_err(|_| wrong())?;
            return match rest.strip_prefix(':') {
                Some(port) => Ok(of(host, number(port)?)),
                None if rest.is_empty() => Ok(of(host, DEFAULT_PORT)),
                None => Err(wrong()),
            };
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(of(text, DEFAULT_PORT));
        }
        match text.split_once(':') {
            None if !text.is_empty() => Ok(of(text, DEFAULT_PORT)),
            Some((host, port)) if !host.is_empty() => Ok(of(host, number(port)?)),
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<OsString> {
        name.starts_with("VMM_").then(|| format!("env-{name}").into())
    }

    fn profile() -> Profile {
        Profile {
            ca: Some("profile-ca".into()),
            server: Some("profile-server:1".to_owned()),
            server_name: Some("profile-name".to_owned()),
            bundle: Some("profile-bundle".into()),
            key: Some("profile-key".into()),
        }
    }

    #[test]
    fn an_option_goes_before_the_environment_and_that_before_the_profile() {
        let options = || Global {
            ca: Some("option-ca".into()),
            server: Some("option-server".to_owned()),
            ..Global::default()
        };
        let server = |tls: &Tls| tls.server.host.clone();
        let all = Tls::of(options(), env, profile());
        // The variable holds no host name; the option is looked at first.
        let all = all.unwrap();
        assert_eq!((server(&all), all.ca), ("option-server".to_owned(), "option-ca".into()));
        assert_eq!(all.bundle, PathBuf::from("env-VMM_BUNDLE"));
        assert_eq!(all.name, ServerName::try_from("profile-name").unwrap());
        let own = Tls::of(Global::default(), |_| Some(OsString::new()), profile()).unwrap();
        assert_eq!(server(&own), "profile-server");
        assert_eq!((own.ca, own.key), ("profile-ca".into(), "profile-key".into()));
    }

    #[test]
    fn what_is_missing_is_named_with_its_option_and_its_variable() {
        for (left_out, option, variable) in [
            ("ca", "--ca FILE", "VMM_CA"),
            ("server", "--server HOST[:PORT]", "VMM_SERVER"),
            ("bundle", "--bundle FILE", "VMM_BUNDLE"),
            ("key", "--key FILE", "VMM_KEY"),
        ] {
            let mut profile = profile();
            match left_out {
                "ca" => profile.ca = None,
                "server" => profile.server = None,
                "bundle" => profile.bundle = None,
                _ => profile.key = None,
            }
            let failure = Tls::of(Global::default(), |_| None, profile).unwrap_err();
            assert_eq!(failure.code.exit(), 2);
            let text = failure.to_string();
            assert!(text.contains(option) && text.contains(variable), "{text}");
        }
    }

    #[test]
    fn the_local_socket_goes_with_no_certificates() {
        let socket = || Global { socket: Some("s".into()), ..Global::default() };
        assert_eq!(Way::of(socket(), env), Ok(Way::Local("s".into())));
        let both = Global { key: Some("k".into()), ..socket() };
        let text = Way::of(both, env).unwrap_err().to_string();
        assert!(text.contains("--key"), "{text}");
    }

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("localhost", "localhost", 1025),
            ("localhost:1", "localhost", 1),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("::1", "::1", 1025),
            ("[::1]", "::1", 1025),
            ("[::1]:7", "::1", 7),
        ] {
            let server = Server::parse(text).unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port), "{text}");
        }
        for bad in
            ["", ":1", "host:", "host:0", "host:65536", "[::1", "[host]:1", "[::1]x", "a:b:c"]
        {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Profiles: files with what would otherwise be typed each time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A larger file is none of these.
const MAX_FILE: u64 = 64 << 10;

/// What a profile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) server: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) bundle: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl Profile {
    /// Reads the profile `name`.
    pub(crate) fn load(
        name: &str,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Failure> {
        let file = file_of(name, env)?;
        let content = vmm_ca::file::read(&file, MAX_FILE)
            .map_err(|error| Failure::usage(format!("--profile {name}: {error}")))?;
        let directory = file.parent().unwrap_or(Path::new("."));
        String::from_utf8(content)
            .map_err(|_| "not UTF-8".to_owned())
            .and_then(|text| Self::parse(&text, directory))
            .map_err(|problem| Failure::usage(format!("{}: {problem}", file.display())))
    }

    /// Parses `key = value` lines; `#` begins a comment line. A relative path is relative to
    /// `directory`, the profile's own.
    fn parse(text: &str, directory: &Path) -> Result<Self, String> {
        let mut profile = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            profile.line(line, directory).map_err(|what| format!("line {}: {what}", index + 1))?;
        }
        Ok(profile)
    }

    fn line(&mut self, line: &str, directory: &Path) -> Result<(), String> {
        let (key, value) = line.split_once('=').ok_or("expected KEY = VALUE")?;
        let (key, value) = (key.trim_end(), value.trim_start());
        if value.is_empty() {
            return Err(format!("{key} has no value"));
        }
        let twice = match key {
            "ca" => self.ca.replace(directory.join(value)).is_some(),
            "server" => self.server.replace(value.to_owned()).is_some(),
            "server-name" => self.server_name.replace(value.to_owned()).is_some(),
            "bundle" => self.bundle.replace(directory.join(value)).is_some(),
            "key" => self.key.replace(directory.join(value)).is_some(),
            _ => {
                let known = "ca, server, server-name, bundle, key";
                return Err(format!("there is no key {key:?}: use {known}"));
            }
        };
        if twice { Err(format!("{key} stands in it twice")) } else { Ok(()) }
    }
}

/// The file of a profile. Its name is one component of a path, never a path.
fn file_of(name: &str, env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Failure> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        let rule = "use its name alone, without directory and without .conf";
        return Err(Failure::usage(format!("--profile {name}: {rule}")));
    }
    let set = |variable: &str| env(variable).filter(|value| !value.is_empty());
    let config = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".config")))
        .ok_or_else(|| {
            Failure::usage("--profile: neither XDG_CONFIG_HOME nor HOME says where profiles are")
        })?;
    Ok(config.join("vmm").join(format!("{name}.conf")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_lines_of_keys_and_values() {
        let text = "# mine\n\nca = cacert.pem\nserver=host:1\nserver-name = h\nbundle = /b\nkey=k";
        let profile = Profile::parse(text, Path::new("/p")).unwrap();
        let expected = Profile {
            ca: Some("/p/cacert.pem".into()),
            server: Some("host:1".to_owned()),
            server_name: Some("h".to_owned()),
            bundle: Some("/b".into()),
            key: Some("/p/k".into()),
        };
        assert_eq!(profile, expected);
        for (bad, why) in [
            ("ca", "line 1: expected KEY = VALUE"),
            ("\nca =", "line 2: ca has no value"),
            ("ca = a\nca = b", "line 2: ca stands in it twice"),
            ("socket = x", "line 1: there is no key \"socket\""),
        ] {
            let problem = Profile::parse(bad, Path::new("/p")).unwrap_err();
            assert!(problem.starts_with(why), "{problem}");
        }
    }

    #[test]
    fn a_profile_is_looked_for_in_the_configuration_directory_only() {
        let env = |xdg: Option<&'static str>| {
            move |name: &str| match name {
                "XDG_CONFIG_HOME" => xdg.map(OsString::from),
                "HOME" => Some("/home/me".into()),
                _ => None,
            }
        };
        let home = file_of("work", env(None)).unwrap();
        assert_eq!(home, Path::new("/home/me/.config/vmm/work.conf"));
        let xdg = file_of("work", env(Some("/x"))).unwrap();
        assert_eq!(xdg, Path::new("/x/vmm/work.conf"));
        for bad in ["", "../x", "/etc/x", ".hidden"] {
            assert!(file_of(bad, env(None)).is_err(), "{bad}");
        }
        assert!(file_of("work", |_| None).is_err());
    }
}

//! Labels, paths and machine names.
//!
//! A *label* is the common name of a certificate below the root. The labels of the delegations of
//! a chain, outermost first, form a *path* (`dev/alice`); a machine's name is its path and the
//! label of its leaf (`dev/alice/hello`). A name never becomes part of a file name, an interface
//! name or a command.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

/// At most so many delegations stand between the root and a leaf (certificate profile, rule 2).
pub const MAX_DELEGATIONS: usize = 6;

/// The longest label, in bytes.
pub const MAX_LABEL: usize = 63;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// "{0}" is not a label: use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit
    #[error(
        "\"{0}\" is not a label: use 1 to 63 of a-z, 0-9 and '-', beginning and ending with a \
         letter or digit"
    )]
    Label(String),
    /// a path has at most 6 labels, this one has {0}
    #[error("a path has at most {MAX_DELEGATIONS} labels, this one has {0}")]
    TooDeep(usize),
    /// "{0}" names no machine: the last part is empty
    #[error("\"{0}\" names no machine: the last part is empty")]
    NoMachine(String),
}

/// One label: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
///
/// Up to 23 bytes of it lie where the label does: tables are full of labels, and comparing them is
/// not to fetch memory from elsewhere each time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(SmolStr);

impl Label {
    /// Parses a label.
    ///
    /// # Errors
    /// [`NameError::Label`] when the text breaks the rule above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let right = (1..=MAX_LABEL).contains(&bytes.len())
            && bytes.iter().all(|b| plain(b) || *b == b'-')
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain);
        if right { Ok(Self(text.into())) } else { Err(NameError::Label(shown(text))) }
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hostile text, cut and made printable for an error message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for Label {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// The labels of the delegations of a chain, outermost first; empty for the whole host.
///
/// A clone shares them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Arc<[Label]>);

impl Path {
    /// The empty path: the whole host.
    pub fn host() -> Self {
        Self::default()
    }

    /// A path of the given labels.
    ///
    /// # Errors
    /// [`NameError::TooDeep`] for more than [`MAX_DELEGATIONS`] labels.
    pub fn new(labels: Vec<Label>) -> Result<Self, NameError> {
        if labels.len() > MAX_DELEGATIONS {
            return Err(NameError::TooDeep(labels.len()));
        }
        Ok(Self(labels.into()))
    }

    /// Parses `dev/alice`; the empty text is the empty path.
    ///
    /// # Errors
    /// [`NameError`] for a part that is no label, or too many parts.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Ok(Self::host());
        }
        Self::new(text.split('/').map(Label::parse).collect::<Result<_, _>>()?)
    }

    /// Its labels, outermost first.
    pub fn labels(&self) -> &[Label] {
        &self.0
    }

    /// How many delegations deep it is: 0 for the whole host.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether this is the empty path.
    pub fn is_host(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }

    /// The path of its first `depth` labels; the whole path when it has fewer.
    #[must_use]
    pub fn ancestor(&self, depth: usize) -> Path {
        self.0.get(..depth).map_or_else(|| self.clone(), |labels| Self(labels.into()))
    }

    /// The path one label deeper.
    ///
    /// # Errors
    /// [`NameError::TooDeep`] when it is as deep as it may be.
    pub fn child(&self, label: Label) -> Result<Path, NameError> {
        let mut labels = self.0.to_vec();
        labels.push(label);
        Self::new(labels)
    }

    /// This path and all above it: outermost (the host) first, itself last.
    pub fn lineage(&self) -> impl Iterator<Item = Path> + '_ {
        (0..=self.depth()).map(|depth| self.ancestor(depth))
    }
}

/// A table by path is asked with labels, without making a path first.
impl Borrow<[Label]> for Path {
    fn borrow(&self) -> &[Label] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            f.write_str(label.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A machine's full name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MachineName {
    /// The delegations above it.
    pub path: Path,
    /// Its own label.
    pub label: Label,
}

impl MachineName {
    /// Parses a full name without a leading slash, `dev/alice/hello`.
    ///
    /// # Errors
    /// [`NameError`] for a part that is no label, or too many parts.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match Target::parse(text, &Path::host())? {
            Target::Machine(name) => Ok(name),
            Target::Below(_) => Err(NameError::NoMachine(shown(text))),
        }
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_host() {
            write!(f, "{}", self.label)
        } else {
            write!(f, "{}/{}", self.path, self.label)
        }
    }
}

impl fmt::Debug for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What a client may name: one machine, or everything below a delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `hello`, `alice/hello`, `/dev/hello`
    Machine(MachineName),
    /// `alice/`, `/dev/`, `/`: every machine below
    Below(Path),
}

impl Target {
    /// Parses what a client named, relative to its own path unless it begins with a slash.
    ///
    /// # Errors
    /// [`NameError`] for a part that is no label, or too many parts.
    pub fn parse(text: &str, own: &Path) -> Result<Self, NameError> {
        let (mut labels, rest) = match text.strip_prefix('/') {
            Some(rest) => (Vec::new(), rest),
            None => (own.0.to_vec(), text),
        };
        let (middle, last) = rest.rsplit_once('/').unwrap_or(("", rest));
        if rest.contains('/') {
            for part in middle.split('/') {
                labels.push(Label::parse(part)?);
            }
        }
        let path = Path::new(labels)?;
        if last.is_empty() {
            return Ok(Self::Below(path));
        }
        Ok(Self::Machine(MachineName { path, label: Label::parse(last)? }))
    }

    /// Whether a machine of this name is meant.
    pub fn covers(&self, name: &MachineName) -> bool {
        match self {
            Self::Machine(machine) => machine == name,
            Self::Below(path) => name.path.is_within(path),
        }
    }

    /// The path under which everything meant lies.
    pub fn path(&self) -> &Path {
        match self {
            Self::Machine(machine) => &machine.path,
            Self::Below(path) => path,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(machine) => write!(f, "{machine}"),
            Self::Below(path) => write!(f, "{path}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_lower_case_and_never_a_path() {
        for good in ["a", "0", "dev", "a-b", "a--b", &"x".repeat(63)] {
            assert!(Label::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-a", "a-", "A", "a_b", "../../x", "a/b", "a.b", "ä", "a ", "a\0", &"x".repeat(64)]
        {
            assert!(Label::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_relative_to_the_own_path_or_full() {
        let own = Path::parse("dev").unwrap();
        let machine = |text: &str| MachineName::parse(text).unwrap();
        let parse = |text: &str| Target::parse(text, &own).unwrap();
        assert_eq!(parse("hello"), Target::Machine(machine("dev/hello")));
        assert_eq!(parse("/dev/hello"), Target::Machine(machine("dev/hello")));
        assert_eq!(parse("/hello"), Target::Machine(machine("hello")));
        assert_eq!(parse("alice/hello"), Target::Machine(machine("dev/alice/hello")));
        assert_eq!(parse("alice/"), Target::Below(Path::parse("dev/alice").unwrap()));
        assert_eq!(parse("/"), Target::Below(Path::host()));
        assert_eq!(parse(""), Target::Below(own.clone()));
        for bad in ["//", "a//b", "/../x", "a/../b", "alice//"] {
            assert!(Target::parse(bad, &own).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_machine_and_a_delegation_may_share_a_label() {
        let machine = MachineName::parse("dev").unwrap();
        let below = Target::Below(Path::parse("dev").unwrap());
        assert!(!below.covers(&machine));
        assert!(Target::Machine(machine.clone()).covers(&machine));
    }

    #[test]
    fn a_path_is_at_most_six_deep() {
        assert!(Path::parse("a/b/c/d/e/f").is_ok());
        assert_eq!(Path::parse("a/b/c/d/e/f/g"), Err(NameError::TooDeep(7)));
        assert!(MachineName::parse("a/b/c/d/e/f/machine").is_ok());
        assert!(MachineName::parse("a/b/c/d/e/f/g/machine").is_err());
    }
}

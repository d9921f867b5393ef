//! What is to be recorded, before it has its number and its time.

/// Something to record: an event without its number and time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) path: String,
    pub(crate) machine: Option<String>,
    pub(crate) fields: Vec<(String, String)>,
}

/// At most so many bytes of a value: an event must fit a message whatever a program said.
const VALUE: usize = 2048;

impl Entry {
    /// An entry about a path.
    pub(crate) fn of(kind: &'static str, path: impl std::fmt::Display) -> Self {
        Self { kind, path: path.to_string(), ..Self::default() }
    }

    /// With one more field.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.fields.push((name.to_owned(), cut(value.to_string())));
        self
    }

    /// About a machine.
    #[must_use]
    pub(crate) fn about(mut self, machine: impl std::fmt::Display) -> Self {
        self.machine = Some(machine.to_string());
        self
    }

    /// Its fields as one text.
    pub(crate) fn shown(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join(" ")
    }
}

/// A text without what is too long of it.
fn cut(mut text: String) -> String {
    if text.len() > VALUE {
        text.truncate(text.floor_char_boundary(VALUE));
        text.push('…');
    }
    text
}

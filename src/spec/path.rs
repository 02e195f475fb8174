//! Where in a spec: `neurons[0].at[1].layer`.

use std::fmt;

use jsonschema::paths::{Location, LocationSegment};

/// The way from the top of a spec to one of its keys or items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecPath(Vec<Step>);

/// One step of a [`SpecPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list, counted from 0.
    Item(usize),
}

impl SpecPath {
    /// The top of the spec.
    pub fn root() -> Self {
        Self::default()
    }

    /// One key further in.
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// One list item further in.
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    /// One step further in.
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The steps from the top.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The path without its last step; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    /// Whether `other` is this place or lies inside it.
    pub fn contains(&self, other: &SpecPath) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl From<&Location> for SpecPath {
    fn from(location: &Location) -> Self {
        let step = |segment: LocationSegment<'_>| match segment {
            LocationSegment::Property(key) => Step::Key(key.into_owned()),
            LocationSegment::Index(index) => Step::Item(index),
        };
        Self(location.segments().map(step).collect())
    }
}

impl fmt::Display for SpecPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the spec");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_a_person_would_write_it() {
        let path = SpecPath::root().key("neurons").item(0).key("at").item(1);
        assert_eq!(path.to_string(), "neurons[0].at[1]");
        assert_eq!(SpecPath::root().to_string(), "the spec");
        assert!(SpecPath::root().key("neurons").contains(&path));
        assert!(!path.contains(&SpecPath::root().key("neurons")));
    }
}

//! What the deployment tells a function, read once at its start.

use std::cell::RefCell;
use std::str::FromStr;

/// Reads environment variables and remembers every one that is missing or wrong, so that a deployment hears of all its
/// mistakes at once.
pub struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    wrong: RefCell<Vec<String>>,
}

/// The variables that a deployment forgot or mistyped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("environment variables missing or invalid: {}", .0.join(", "))]
pub struct SettingsError(Vec<String>);

impl Reader<'_> {
    /// Reads the process's own environment.
    pub fn from_env<T>(read: impl FnOnce(&Reader<'_>) -> T) -> Result<T, SettingsError> {
        Self::read(|name| std::env::var(name).ok(), read)
    }

    /// Reads with any look-up.
    pub fn read<T>(
        lookup: impl Fn(&str) -> Option<String>,
        read: impl FnOnce(&Reader<'_>) -> T,
    ) -> Result<T, SettingsError> {
        let reader = Reader { lookup: &lookup, wrong: RefCell::default() };
        let value = read(&reader);
        let wrong = reader.wrong.into_inner();
        if wrong.is_empty() { Ok(value) } else { Err(SettingsError(wrong)) }
    }

    /// A text that must be there.
    pub fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.wrong.borrow_mut().push(name.to_owned());
            String::new()
        })
    }

    /// A text that may be empty or absent.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// `true` or `false`, which must be there.
    pub fn flag(&self, name: &str) -> bool {
        self.number(name)
    }

    /// A number that must be there.
    pub fn number<N: FromStr + Default>(&self, name: &str) -> N {
        self.optional(name).and_then(|value| value.parse().ok()).unwrap_or_else(|| {
            self.wrong.borrow_mut().push(name.to_owned());
            N::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_hears_of_all_its_mistakes_at_once() {
        let lookup = |name: &str| (name == "DAYS").then(|| "many".to_owned());
        let error =
            Reader::read(lookup, |r| (r.text("TABLE"), r.number::<u32>("DAYS"), r.optional("HOST"))).unwrap_err();
        assert_eq!(error.to_string(), "environment variables missing or invalid: TABLE, DAYS");
    }
}

//! Texts of a payload, without a copy.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A text, borrowed from the payload unless it is written with escapes there. (Of a `Cow` inside an `Option`, serde makes
/// a copy each time.) A struct that holds some says `borrow` at one field, for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Str<'a>(Cow<'a, str>);

impl Deref for Str<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Str<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrVisitor;
        impl<'de> Visitor<'de> for StrVisitor {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(StrVisitor)
    }
}

/// A copy to keep, or nothing where there is none.
pub(super) fn kept(text: &Option<Str<'_>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

/// A copy to keep, empty where there is none.
pub(super) fn kept_or_empty(text: &Option<Str<'_>>) -> String {
    text.as_deref().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_with_escapes_is_copied() {
        for (json, expected, is_borrowed) in
            [(r#""Brioche""#, "Brioche", true), (r#""Cr\u00eape \"x\"""#, "Crêpe \"x\"", false), (r#""""#, "", true)]
        {
            let text: Option<Str<'_>> = serde_json::from_str(json).unwrap();
            let text = text.unwrap();
            assert_eq!(&*text, expected);
            assert_eq!(matches!(text.0, Cow::Borrowed(_)), is_borrowed, "{json}");
        }
        assert!(serde_json::from_str::<Str<'_>>("1").is_err());
    }
}

//! A request's body and query, field by field: whatever is wrong with them is answered at once.

use std::collections::BTreeSet;
use std::str::FromStr;

use lambda_http::aws_lambda_events::query_map::QueryMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Cursors, MAX_PAGE};
use crate::problem::{FieldError, Problem};

/// Nobody reads a longer list.
const MAX_ERRORS: usize = 50;

/// The fields of a JSON object that have not been read yet, and what was wrong with those that have.
pub struct Fields {
    path: String,
    left: Map<String, Value>,
    errors: Vec<FieldError>,
    /// Which have been asked for, by pointer, and whether they must be there.
    #[cfg(feature = "schema")]
    asked: Option<std::collections::BTreeMap<String, bool>>,
}

impl Fields {
    fn at(path: String, left: Map<String, Value>) -> Self {
        Self {
            path,
            left,
            errors: Vec::new(),
            #[cfg(feature = "schema")]
            asked: None,
        }
    }

    /// The fields that a reader asks for, by JSON Pointer, and whether they must be there: what a schema must say, too.
    #[cfg(feature = "schema")]
    pub fn asked_by(read: impl FnOnce(&mut Self)) -> std::collections::BTreeMap<String, bool> {
        let mut fields = Self { asked: Some(std::collections::BTreeMap::new()), ..Self::at(String::new(), Map::new()) };
        read(&mut fields);
        fields.asked.unwrap_or_default()
    }

    fn note(&mut self, name: &str, is_required: bool) {
        #[cfg(feature = "schema")]
        {
            let pointer = self.pointer(name);
            if let Some(asked) = &mut self.asked {
                *asked.entry(pointer).or_default() |= is_required;
            }
        }
        #[cfg(not(feature = "schema"))]
        let _ = (name, is_required);
    }

    pub(super) fn new(body: Value) -> Result<Self, Problem> {
        let Value::Object(left) = body else {
            return Err(Problem::invalid_fields(vec![FieldError::new("", "must be a JSON object")]));
        };
        Ok(Self::at(String::new(), left))
    }

    /// A field that must be there. `None` has been noted as an error.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.note(name, true);
        let value = self.optional(name);
        let pointer = self.pointer(name);
        let is_noted = self.errors.iter().any(|error| {
            let rest = error.pointer.strip_prefix(&pointer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if value.is_none() && !is_noted {
            self.refuse(name, "is required");
        }
        value
    }

    /// A field that may be missing or null.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.note(name, false);
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        match serde_path_to_error::deserialize(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let pointer = format!("{}{}", self.pointer(name), super::pointer(error.path()));
                // serde's messages name types and fields; the caller's own values in them go back to the caller only.
                self.errors.push(FieldError::new(pointer, error.into_inner()));
                None
            }
        }
    }

    /// An object inside, whose fields are read by `read`.
    pub fn section<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.note(name, false);
        #[cfg(feature = "schema")]
        if let Some(asked) = self.asked.take() {
            let mut inner = Self { asked: Some(asked), ..Self::at(self.pointer(name), Map::new()) };
            let read = read(&mut inner);
            self.asked = inner.asked;
            return Some(read);
        }
        let value = self.left.remove(name).filter(|value| !value.is_null())?;
        let Value::Object(left) = value else {
            self.refuse(name, "must be an object");
            return None;
        };
        let mut inner = Self::at(self.pointer(name), left);
        let read = read(&mut inner);
        inner.refuse_the_rest();
        self.errors.append(&mut inner.errors);
        Some(read)
    }

    /// Notes an error of our own about a field.
    pub fn refuse(&mut self, name: &str, message: impl ToString) {
        let pointer = self.pointer(name);
        self.errors.push(FieldError::new(pointer, message));
    }

    /// Notes an error of our own about an element of a field's list.
    pub fn refuse_element(&mut self, name: &str, index: usize, message: impl ToString) {
        let pointer = format!("{}/{index}", self.pointer(name));
        self.errors.push(FieldError::new(pointer, message));
    }

    /// Refuses the request if anything was wrong with it; unknown fields are.
    pub fn finish(mut self) -> Result<(), Problem> {
        self.refuse_the_rest();
        if self.errors.is_empty() {
            return Ok(());
        }
        let more = self.errors.len().saturating_sub(MAX_ERRORS);
        self.errors.truncate(MAX_ERRORS);
        if more > 0 {
            self.errors.push(FieldError::new("", format!("and {more} more")));
        }
        Err(Problem::invalid_fields(self.errors))
    }

    fn refuse_the_rest(&mut self) {
        for name in std::mem::take(&mut self.left).into_iter().map(|(name, _)| name) {
            self.refuse(&name, "is not a field of this request");
        }
    }

    fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.path, name.replace('~', "~0").replace('/', "~1"))
    }
}

/// The parameters of a query, and what was wrong with those that have been read.
pub struct Parameters {
    values: QueryMap,
    asked: Vec<String>,
    errors: Vec<FieldError>,
}

impl Parameters {
    pub(super) fn new(values: QueryMap) -> Self {
        Self { values, asked: Vec::new(), errors: Vec::new() }
    }

    /// One of them; an empty one is wrong, as a client that forgot its value is. `expected` completes "must be ...".
    pub fn get<T: FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        self.asked.push(name.to_owned());
        let values = self.values.all(name).unwrap_or_default();
        if values.len() > 1 {
            self.errors.push(FieldError::new(name, "must be there only once"));
            return None;
        }
        let value = self.values.first(name)?;
        let parsed = Some(value).filter(|value| !value.is_empty()).and_then(|value| value.parse().ok());
        if parsed.is_none() {
            self.errors.push(FieldError::new(name, format!("must be {expected}")));
        }
        parsed
    }

    /// Notes an error of our own about a parameter.
    pub fn refuse(&mut self, name: &str, message: impl ToString) {
        self.errors.push(FieldError::new(name, message));
    }

    /// How many items a page shall have.
    pub fn limit(&mut self, default: i32) -> i32 {
        self.limit_to(default, MAX_PAGE)
    }

    /// How many items a page shall have, where another number than [`MAX_PAGE`] is the most.
    pub fn limit_to(&mut self, default: i32, most: i32) -> i32 {
        let expected = format!("a number from 1 to {most}");
        let limit = self.get("limit", &expected).unwrap_or(default);
        if !(1..=most).contains(&limit) {
            self.errors.push(FieldError::new("limit", format!("must be {expected}")));
        }
        limit
    }

    /// Where the listing goes on.
    pub fn cursor<T: DeserializeOwned>(&mut self, cursors: &Cursors<'_>) -> Option<T> {
        let cursor = self.get::<String>("cursor", "a cursor")?;
        cursors.read(&cursor).map_err(|error| self.errors.push(error)).ok()
    }

    /// Refuses the request if anything was wrong with it. An unknown parameter is: a filter with a typing error would
    /// show too much.
    pub fn finish(mut self) -> Result<(), Problem> {
        let names: BTreeSet<&str> = self.values.iter().map(|(name, _)| name).collect();
        for name in names.into_iter().filter(|name| !self.asked.iter().any(|asked| asked == name)) {
            self.errors.push(FieldError::new(name, "is not a parameter of this request"));
        }
        self.errors.truncate(MAX_ERRORS);
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::invalid_fields(self.errors)) }
    }
}

/// Whether a text can be shown in one line: 1 to `most` characters, none of them a control character.
pub fn is_line(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// Whether a text can be sent in a header: 1 to `most` visible ASCII characters.
pub fn is_token(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let mut fields = Fields::new(json!({
            "name": 7, "inner": { "count": "x", "more/or~less": 1 }, "colour": "blue", "null": null, "list": [1, "x"],
        }))
        .unwrap();
        assert_eq!(fields.required::<String>("name"), None);
        assert_eq!(fields.required::<String>("missing"), None);
        assert_eq!(fields.optional::<String>("null"), None);
        assert_eq!(fields.optional::<Vec<u8>>("list"), None);
        assert_eq!(fields.section("inner", |inner| inner.required::<u8>("count")), Some(None));
        let problem = fields.finish().unwrap_err();
        let body: Value = serde_json::from_str(&problem.body("r")).unwrap();
        let errors = body["errors"].as_array().unwrap();
        let pointers: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, ["/name", "/missing", "/list/1", "/inner/count", "/inner/more~1or~0less", "/colour"]);
    }

    #[test]
    fn a_parameter_is_known_filled_and_there_once() {
        let query = |values: &[(&str, &[&str])]| {
            let owned = |(name, values): &(&str, &[&str])| {
                ((*name).to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
            };
            let values: std::collections::HashMap<_, _> = values.iter().map(owned).collect();
            let mut parameters = Parameters::new(values.into());
            let read = (parameters.get::<u8>("day", "a day"), parameters.limit(50));
            parameters.finish().map(|()| read)
        };
        assert_eq!(query(&[]), Ok((None, 50)));
        assert_eq!(query(&[("day", &["7"]), ("limit", &["3"])]), Ok((Some(7), 3)));
        for (wrong, name) in [
            (("day", &[""][..]), "day"),
            (("day", &["x"]), "day"),
            (("day", &["7", "7"]), "day"),
            (("limit", &[""]), "limit"),
            (("dya", &["7"]), "dya"),
        ] {
            let problem = query(&[wrong]).unwrap_err();
            let body: Value = serde_json::from_str(&problem.body("r")).unwrap();
            assert_eq!(body["errors"].as_array().unwrap().len(), 1, "{body}");
            assert_eq!(body["errors"][0]["pointer"], name);
        }
    }

    #[test]
    fn a_long_list_of_errors_is_cut() {
        let body: Map<String, Value> = (0..300).map(|n| (format!("field{n}"), json!(n))).collect();
        let problem = Fields::new(body.into()).unwrap().finish().unwrap_err();
        let body: Value = serde_json::from_str(&problem.body("r")).unwrap();
        assert_eq!(body["errors"].as_array().unwrap().len(), MAX_ERRORS + 1);
        assert_eq!(body["errors"][MAX_ERRORS]["message"], "and 250 more");
        assert!(Fields::new(json!([])).is_err());
    }
}

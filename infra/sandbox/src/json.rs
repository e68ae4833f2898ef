//! Vendors leave out what is empty; this says so without an `if` at every key.

use serde_json::Value;

/// Adds keys to a JSON object.
pub trait Build: Sized {
    fn with(self, key: &str, value: impl Into<Value>) -> Self;

    /// Leaves the key out when there is no value.
    fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Leaves the key out when the list is empty.
    fn with_list(self, key: &str, items: impl Iterator<Item = Value>) -> Self {
        let items: Vec<Value> = items.collect();
        self.with_some(key, (!items.is_empty()).then_some(items))
    }
}

impl Build for Value {
    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if let Some(object) = self.as_object_mut() {
            object.insert(key.to_owned(), value.into());
        }
        self
    }
}

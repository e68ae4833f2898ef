//! The people behind a sale: what a vendor knows of them, and nobody else may keep.
//!
//! Every text about a person has [`PERSONAL`] in it, and every secret that a vendor hands out has [`SECRET`]: whoever finds
//! one of the two where it does not belong has found a leak, in whatever test or run.

use serde_json::{Value, json};

/// Stands in everything that a vendor tells of a person.
pub const PERSONAL: &str = "zq7person";
/// Stands in every secret of a vendor: tokens, keys, passwords.
pub const SECRET: &str = "zq7secret";

/// Of somebody at the till's other side.
pub const STAFF: &str = "zq7person the manager";

/// Who bought something; made of the order's id, so that every copy of an order tells of the same one.
#[derive(Debug, Clone, Copy)]
pub struct Guest<'a> {
    order: &'a str,
}

impl<'a> Guest<'a> {
    pub fn of(order: &'a str) -> Self {
        Self { order }
    }

    /// One of the texts about this guest, such as `family-name`.
    fn text(self, what: &str) -> String {
        let tag: String = self.order.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        format!("{PERSONAL}-{what}-{tag}")
    }

    /// What the staff has called an order of Square's: mostly whom it is for.
    pub fn ticket(self, name: &str) -> String {
        format!("{name} for {}", self.text("name"))
    }

    /// Square's address.
    pub fn address(self) -> Value {
        json!({
            "first_name": self.text("given-name"),
            "last_name": self.text("family-name"),
            "address_line_1": self.text("street"),
            "postal_code": self.text("postal"),
        })
    }

    /// What stands on a card.
    pub fn cardholder(self) -> String {
        self.text("card")
    }

    /// Where a receipt went.
    pub fn mail(self) -> String {
        self.text("mail") + "@example.com"
    }

    /// What somebody typed in about the sale.
    pub fn note(self) -> String {
        self.text("note")
    }

    /// Toast's `customer` of a check, for those with the scope `guest.pi:read`.
    pub fn customer(self) -> Value {
        json!({
            "entityType": "Customer",
            "firstName": self.text("given-name"),
            "lastName": self.text("family-name"),
            "phone": self.text("phone"),
            "email": self.mail(),
        })
    }
}

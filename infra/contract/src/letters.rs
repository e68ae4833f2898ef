//! Events as our service sends them, made up: `schemas/pos.*.json`.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// Of every amount in here.
pub const CURRENCY: &str = "EUR";

/// A tenant's connection, one of its shops and one of its days: what the events of a rule have in common.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Whose.
    pub tenant: String,
    /// New for each scene.
    pub configuration_id: String,
    /// The shop.
    pub location_id: String,
    /// Its accounting day.
    pub business_date: String,
}

/// A message, and what may be said about it.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The message.
    pub body: String,
    /// The message attribute `type`.
    pub event_type: &'static str,
    /// The revision that it brings, or seems to bring.
    pub names: Option<Name>,
    /// Whether an answer is due.
    pub is_due: bool,
}

/// One revision of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Through which connection.
    pub configuration_id: String,
    /// Which transaction.
    pub transaction_id: String,
    /// Which revision.
    pub revision: u64,
}

/// One revision of a sale or a refund.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The transaction's id.
    pub id: Uuid,
    /// The revision.
    pub revision: u64,
    kind: &'static str,
    status: &'static str,
    total_minor: i64,
}

impl Spec {
    /// A new sale that is paid.
    #[must_use]
    pub fn sale(total_minor: i64) -> Self {
        // Ours are of version 8, and begin with a time.
        let id = Uuid::new_v8(*Uuid::now_v7().as_bytes());
        Self { id, revision: 1, kind: "sale", status: "completed", total_minor }
    }

    /// A refund instead.
    #[must_use]
    pub fn refund(self) -> Self {
        Self { kind: "refund", ..self }
    }

    /// In another status.
    #[must_use]
    pub fn status(self, status: &'static str) -> Self {
        Self { status, ..self }
    }

    /// What became of it.
    #[must_use]
    pub fn revised(&self, revision: u64, total_minor: i64) -> Self {
        Self { revision, total_minor, ..self.clone() }
    }
}

/// What a day came to.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// 1: it is closed. More: it is restated.
    pub revision: u64,
    /// Sales.
    pub sale_count: u64,
    /// What they came to.
    pub sales: i64,
    /// Refunds.
    pub refund_count: u64,
    /// What they gave back.
    pub refunds: i64,
}

impl Scene {
    /// With a new configuration.
    #[must_use]
    pub fn new(tenant: &str, location_id: &str, business_date: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            configuration_id: Uuid::now_v7().to_string(),
            location_id: location_id.to_owned(),
            business_date: business_date.to_owned(),
        }
    }

    /// The event of a transaction's revision, which is to be answered.
    #[must_use]
    pub fn event(&self, spec: &Spec) -> Letter {
        let Spec { id, revision, kind, status, total_minor } = spec;
        let voided = *status == "voided";
        let event_type = if voided { "pos.transaction.voided.v1" } else { "pos.transaction.recorded.v1" };
        let now = Timestamp::now().to_string();
        let transaction = json!({
            "id": id, "provider": "square", "configuration_id": self.configuration_id, "kind": kind, "status": status,
            "external_order_id": format!("CONTRACT-{id}"), "source_version": revision, "location_id": self.location_id,
            "created_at": now, "occurred_at": now, "business_date": self.business_date, "currency": CURRENCY,
            "amounts": amounts(*total_minor),
            "line_items": [{
                "id": "1", "kind": "item", "name": "Butter croissant", "quantity": "1", "unit_price_minor": total_minor,
                "gross_minor": total_minor, "discount_minor": 0, "tax_minor": 0, "total_minor": total_minor,
            }],
            "payments": [{ "id": "1", "tender": "cash", "amount_minor": total_minor, "tip_minor": 0 }],
        });
        let data = json!({ "revision": revision, "transaction": transaction });
        let body = self.envelope(event_type, "pos.transaction.v1.json", &id.to_string(), *revision, data);
        Letter { body: body.to_string(), event_type, names: Some(self.name(spec)), is_due: true }
    }

    /// The event of a day.
    #[must_use]
    pub fn day(&self, figures: &Figures) -> Letter {
        let Figures { revision, sale_count, sales, refund_count, refunds } = *figures;
        let event_type = if revision == 1 { "pos.day.closed.v1" } else { "pos.day.restated.v1" };
        let subject = format!("{}/{}/{}", self.configuration_id, self.location_id, self.business_date);
        let data = json!({
            "revision": revision, "configuration_id": self.configuration_id, "location_id": self.location_id,
            "business_date": self.business_date, "currency": CURRENCY, "state": { "kind": "proven" },
            "sale_count": sale_count, "sales": amounts(sales),
            "refund_count": refund_count, "refunds": amounts(refunds),
            "by_tender": [{ "tender": "cash", "amount_minor": sales - refunds }], "products": [],
        });
        let body = self.envelope(event_type, "pos.day.v1.json", &subject, revision, data);
        Letter { body: body.to_string(), event_type, names: None, is_due: false }
    }

    /// The event of the configuration's end.
    #[must_use]
    pub fn erased(&self) -> Letter {
        let event_type = "pos.configuration.erased.v1";
        let data = json!({ "configuration_id": self.configuration_id, "transactions": 1 });
        let schema = "pos.configuration.erased.v1.json";
        let body = self.envelope(event_type, schema, &self.configuration_id, 1, data);
        Letter { body: body.to_string(), event_type, names: None, is_due: false }
    }

    fn name(&self, spec: &Spec) -> Name {
        Name {
            configuration_id: self.configuration_id.clone(),
            transaction_id: spec.id.to_string(),
            revision: spec.revision,
        }
    }

    fn envelope(&self, event_type: &str, schema: &str, subject: &str, sequence: u64, data: Value) -> Value {
        let trace = Uuid::new_v4().simple().to_string();
        json!({
            "specversion": "1.0",
            "id": format!("{subject}:{sequence}"),
            "source": format!("/pos/square/{}", self.configuration_id),
            "type": event_type,
            "subject": subject,
            "time": Timestamp::now().to_string(),
            "datacontenttype": "application/json",
            "dataschema": format!("https://pos-integration.dev/schemas/{schema}"),
            "tenantid": self.tenant,
            "sequence": format!("{sequence:010}"),
            "traceparent": format!("00-{trace}-{}-01", trace.get(..16).unwrap_or_default()),
            "data": data,
        })
    }
}

fn amounts(total_minor: i64) -> Value {
    json!({
        "gross_minor": total_minor, "discount_minor": 0, "tax_minor": 0, "tax_included_minor": 0,
        "service_charge_minor": 0, "tip_minor": 0, "rounding_minor": 0, "total_minor": total_minor,
    })
}

impl Letter {
    /// The same with something changed in it.
    #[must_use]
    pub fn but(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body = serde_json::from_str(&self.body).unwrap_or_default();
        change(&mut body);
        self.body = body.to_string();
        self
    }

    /// The same, but nobody need answer it.
    #[must_use]
    pub fn unanswered(self) -> Self {
        Self { is_due: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_is_what_the_schemas_describe() {
        let scene = Scene::new("t", "SHOP1", "2026-11-22");
        let figures = |revision| Figures { revision, sale_count: 1, sales: 100, refund_count: 1, refunds: 100 };
        let transaction = include_str!("../../../schemas/pos.transaction.v1.json");
        let day = include_str!("../../../schemas/pos.day.v1.json");
        let erased = include_str!("../../../schemas/pos.configuration.erased.v1.json");
        for (letter, schema) in [
            (scene.event(&Spec::sale(100)), transaction),
            (scene.event(&Spec::sale(100).revised(2, 300).refund()), transaction),
            (scene.event(&Spec::sale(100).status("voided")), transaction),
            (scene.event(&Spec::sale(100).status("open")), transaction),
            (scene.day(&figures(1)), day),
            (scene.day(&figures(2)), day),
            (scene.erased(), erased),
        ] {
            let schema = serde_json::from_str(schema).unwrap();
            let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
            let body: Value = serde_json::from_str(&letter.body).unwrap();
            let errors: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
            assert!(errors.is_empty() && body["type"] == letter.event_type, "{errors:?}: {body}");
        }
    }
}

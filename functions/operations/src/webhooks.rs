//! The receiver of a provider's webhooks: that it is there, what it takes, and how much it has been given. For the provider's
//! people and ours, so nothing of it tells of a tenant.

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use shared::domain::ProviderKind;
use shared::problem::Problem;
use shared::rest::{Answer, Question};
use shared::telemetry::metrics::{Tally, Value};

use crate::App;

/// The receiver of a provider's webhooks.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReceiverStatus {
    pos_system: ProviderKind,
    /// Always `up`: who sees this answer knows it.
    status: &'static str,
    /// Of which events it makes something, in the provider's words. Others are taken, and need no work.
    event_types: &'static [&'static str],
    /// Deliveries since counting began.
    deliveries: Deliveries,
    /// When the last one came that was taken. It is known some seconds later.
    last_delivery_at: Option<Timestamp>,
    last_delivery_age_seconds: Option<i64>,
}

/// Deliveries by what they were answered.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "DeliveryCounts"))]
struct Deliveries {
    accepted: u64,
    /// Not proven, not to be read, or sent while we could not keep it.
    refused: u64,
}

/// Shows one.
pub async fn status(app: &App, question: &Question) -> Result<Answer, Problem> {
    let kind: ProviderKind = question.path_id("pos_system", "provider")?;
    let counted = crate::metrics::counted(app).await?;
    let (deliveries, last_delivery_at) = received(&counted, kind);
    let age = last_delivery_at.map(|at| Timestamp::now().duration_since(at).as_secs().max(0));
    let event_types = app.providers.get(kind).webhook_event_types();
    let status = ReceiverStatus {
        pos_system: kind,
        status: "up",
        event_types,
        deliveries,
        last_delivery_at,
        last_delivery_age_seconds: age,
    };
    Answer::json(StatusCode::OK, &status)
}

fn received(counted: &Tally, kind: ProviderKind) -> (Deliveries, Option<Timestamp>) {
    let (mut deliveries, mut last_taken) = (Deliveries { accepted: 0, refused: 0 }, None);
    for (series, value) in counted.iter().filter(|(series, _)| series.metric.name == "pos_webhooks_received_total") {
        let Value::Count { count, last } = value else { continue };
        match series.values.as_slice() {
            [provider, "accepted"] if *provider == kind.as_str() => {
                deliveries.accepted += count;
                last_taken = last_taken.max(*last);
            }
            [provider, _] if *provider == kind.as_str() => deliveries.refused += count,
            _ => {}
        }
    }
    (deliveries, last_taken)
}

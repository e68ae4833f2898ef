//! The whole list.

use super::{Kind, Label, Metric};

const LATENCY: Kind = Kind::Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
/// A till may have been offline for a day.
const DELAY: Kind = Kind::Histogram(&[0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0]);

const PROVIDER: Label = Label { name: "provider", values: &["square", "toast", "lightspeed"] };
const FUNCTION: Label = Label { name: "function", values: FUNCTIONS };
/// Those behind the gateway.
const DOOR: Label = Label {
    name: "function",
    values: &["configurations", "connections", "operations", "transactions", "webhooks", "other"],
};
const STATUS: Label = Label { name: "status", values: &["2xx", "3xx", "4xx", "5xx", "other"] };
const WAY: Label =
    Label { name: "way", values: &["webhook", "sync", "backfill", "remapping", "rebuild", "replay", "resend"] };
const LIVE_WAY: Label = Label { name: "way", values: &["webhook", "sync"] };
const KIND: Label = Label { name: "kind", values: &["incremental", "backfill", "repair", "catalog"] };
/// Why work on a message came to another end than it should: every `Code` that is seen in a delivery or a message.
const REASON: Label = Label {
    name: "reason",
    values: &[
        "amount_out_of_range",
        "another_command",
        "body_not_authentic",
        "body_not_kept",
        "contended",
        "credentials_being_renewed",
        "credentials_not_authentic",
        "credentials_refused",
        "cursor_expired",
        "deleting",
        "draft",
        "event_too_large",
        "expired",
        "given_up",
        "invalid_value",
        "key_service_unavailable",
        "missing_field",
        "mixed_currencies",
        "no_order",
        "order_not_found",
        "order_not_kept",
        "other_merchant",
        "out_of_time",
        "paced",
        "panicked",
        "paused",
        "permission_missing",
        "provider_breaker_open",
        "provider_lags",
        "provider_unavailable",
        "queue_unavailable",
        "rate_limited",
        "reauth_required",
        "request_refused",
        "secrets_unavailable",
        "several_merchants",
        "store_unavailable",
        "unknown_location",
        "unknown_merchant",
        "unreadable_answer",
        "unreadable_message",
        "unreadable_payload",
        "unsupported",
        "other",
    ],
};

/// Every function of the service, as its package is called.
pub const FUNCTIONS: &[&str] = &[
    "authorizer",
    "configurations",
    "connections",
    "day-closer",
    "dead-letters",
    "normalizer",
    "operations",
    "outbox-sweeper",
    "sales-replies",
    "sync-scheduler",
    "sync-worker",
    "transactions",
    "upkeep",
    "webhooks",
    "other",
];

/// The whole list.
pub static CATALOGUE: &[&Metric] = &[
    &TILL_TO_SALES,
    &WEBHOOK_TO_SALES,
    &SALES_TO_ACCEPTED,
    &WEBHOOKS_RECEIVED,
    &WEBHOOK_VERIFY,
    &DELIVERIES,
    &TRANSACTIONS,
    &SALES_SENT,
    &SALES_ANSWERS,
    &OUTBOX_SWEPT,
    &REPLIES_PARKED,
    &COMMANDS,
    &POSTPONED,
    &REFUSED,
    &PROVIDER_REQUESTS,
    &PROVIDER_REQUEST,
    &RATE_LIMITED,
    &SYNC_RUNS,
    &DAYS_LOOKED_AT,
    &DAYS_UNPROVEN,
    &UNANNOUNCED,
    &TOKEN_REFRESHES,
    &REQUESTS,
    &REQUEST,
    &DENIED,
    &COLD_STARTS,
    &FLUSHES_FAILED,
];

pub(super) static TILL_TO_SALES: Metric = Metric {
    name: "pos_till_to_sales_seconds",
    code: "ts",
    kind: DELAY,
    help: "From a change at the till, as the provider dates it, until it is handed to the sales queue; without the past",
    labels: &[PROVIDER, LIVE_WAY],
    is_dated: false,
};
pub(super) static WEBHOOK_TO_SALES: Metric = Metric {
    name: "pos_webhook_to_sales_seconds",
    code: "ws",
    kind: DELAY,
    help: "From the arrival of a webhook until what it announced is handed to the sales queue",
    labels: &[PROVIDER],
    is_dated: false,
};
pub(super) static SALES_TO_ACCEPTED: Metric = Metric {
    name: "pos_sales_to_accepted_seconds",
    code: "sa",
    kind: DELAY,
    help: "From the writing of a revision, which is handed over at once, until the sales domain has accepted it",
    labels: &[],
    is_dated: false,
};
pub(super) static WEBHOOKS_RECEIVED: Metric = Metric {
    name: "pos_webhooks_received_total",
    code: "wr",
    kind: Kind::Counter,
    help: "Webhook deliveries by what they were answered",
    labels: &[
        // As the path says, whoever wrote it.
        Label { name: "provider", values: &["square", "toast", "lightspeed", "other"] },
        Label {
            name: "outcome",
            values: &[
                "accepted",
                "unauthorized",
                "not_found",
                "body_too_large",
                "unsupported_media_type",
                "malformed_json",
                "unavailable",
                "other",
            ],
        },
    ],
    is_dated: true,
};
pub(super) static WEBHOOK_VERIFY: Metric = Metric {
    name: "pos_webhook_verify_seconds",
    code: "wv",
    kind: LATENCY,
    help: "Proving where a delivery comes from, keys that had to be read included",
    labels: &[PROVIDER],
    is_dated: false,
};
pub(super) static DELIVERIES: Metric = Metric {
    name: "pos_deliveries_total",
    code: "dl",
    kind: Kind::Counter,
    help: "Webhook deliveries by their final outcome; `repeat` is one that was final already, `dead` one that can end once more",
    labels: &[PROVIDER, Label { name: "outcome", values: &["done", "repeat", "ignored", "dead", "failed"] }],
    is_dated: false,
};
pub(super) static TRANSACTIONS: Metric = Metric {
    name: "pos_transactions_total",
    code: "tx",
    kind: Kind::Counter,
    help: "Copies of transactions by what the table made of them; `failed` counts orders that could not be read",
    labels: &[PROVIDER, WAY, Label { name: "change", values: &["created", "updated", "unchanged", "stale", "failed"] }],
    is_dated: false,
};
pub(super) static SALES_SENT: Metric = Metric {
    name: "pos_sales_sent_total",
    code: "ss",
    kind: Kind::Counter,
    help: "Revisions handed to the sales queue, or not taken by it",
    labels: &[WAY, Label { name: "outcome", values: &["sent", "refused"] }],
    is_dated: false,
};
pub(super) static SALES_ANSWERS: Metric = Metric {
    name: "pos_sales_answers_total",
    code: "an",
    kind: Kind::Counter,
    help: "Answers of the sales domain, and what they came to",
    labels: &[
        Label { name: "answer", values: &["accepted", "rejected"] },
        Label { name: "outcome", values: &["current", "repeat", "superseded", "unknown"] },
    ],
    is_dated: false,
};
pub(super) static OUTBOX_SWEPT: Metric = Metric {
    name: "pos_outbox_swept_total",
    code: "ob",
    kind: Kind::Counter,
    help: "Unacknowledged transactions: sent again, of those so often that they are overdue, or not taken by the queue",
    labels: &[Label { name: "outcome", values: &["resent", "overdue", "refused"] }],
    is_dated: false,
};
pub(super) static REPLIES_PARKED: Metric = Metric {
    name: "pos_replies_parked_total",
    code: "rp",
    kind: Kind::Counter,
    help: "Replies of the sales domain that could not be taken, and wait for a person",
    labels: &[],
    is_dated: false,
};
pub(super) static COMMANDS: Metric = Metric {
    name: "pos_commands_total",
    code: "cm",
    kind: Kind::Counter,
    help: "Items in shops that a sold-out command was about, by what became of them",
    labels: &[
        PROVIDER,
        Label {
            name: "verdict",
            values: &[
                "applied",
                "unchanged",
                "overridden",
                "superseded",
                "unsupported",
                "not_permitted",
                "unknown_item",
                "unknown_location",
                "failed",
            ],
        },
    ],
    is_dated: false,
};
pub(super) static POSTPONED: Metric = Metric {
    name: "pos_messages_postponed_total",
    code: "po",
    kind: Kind::Counter,
    help: "Messages that must come again, and why",
    labels: &[REASON],
    is_dated: false,
};
pub(super) static REFUSED: Metric = Metric {
    name: "pos_deliveries_refused_total",
    code: "dr",
    kind: Kind::Counter,
    help: "Deliveries that were ignored or have failed, and why",
    labels: &[REASON],
    is_dated: false,
};
pub(super) static PROVIDER_REQUESTS: Metric = Metric {
    name: "pos_provider_requests_total",
    code: "pr",
    kind: Kind::Counter,
    help: "Requests to the providers; `refused` is a 4xx, `failed` a 5xx or no answer that can be read",
    labels: &[
        PROVIDER,
        Label {
            name: "operation",
            values: &[
                "describe_merchant",
                "fetch_availability",
                "fetch_daily_totals",
                "fetch_order",
                "list_catalog",
                "list_day",
                "list_orders",
                "refresh_credentials",
                "revoke_credentials",
                "set_availability",
                "other",
            ],
        },
        Label { name: "outcome", values: &["ok", "refused", "rate_limited", "failed"] },
    ],
    is_dated: false,
};
pub(super) static PROVIDER_REQUEST: Metric = Metric {
    name: "pos_provider_request_seconds",
    code: "pt",
    kind: LATENCY,
    help: "Requests to the providers",
    labels: &[PROVIDER],
    is_dated: false,
};
pub(super) static RATE_LIMITED: Metric = Metric {
    name: "pos_rate_limited_total",
    code: "rl",
    kind: Kind::Counter,
    help: "Requests that had to wait: for our own budget, or because the provider said so",
    labels: &[PROVIDER, Label { name: "side", values: &["ours", "theirs"] }],
    is_dated: false,
};
pub(super) static SYNC_RUNS: Metric = Metric {
    name: "pos_sync_runs_total",
    code: "sr",
    kind: Kind::Counter,
    help: "Runs that have ended",
    labels: &[PROVIDER, KIND, Label { name: "state", values: &["completed", "partial", "failed", "cancelled"] }],
    is_dated: false,
};
pub(super) static DAYS_LOOKED_AT: Metric = Metric {
    name: "pos_days_looked_at_total",
    code: "dc",
    kind: Kind::Counter,
    help: "Looks at shops' business days, by how sure we are that nothing is missing",
    labels: &[PROVIDER, Label { name: "state", values: &["proven", "short", "over", "pending", "not_provable"] }],
    is_dated: false,
};
pub(super) static DAYS_UNPROVEN: Metric = Metric {
    name: "pos_days_unproven_total",
    code: "du",
    kind: Kind::Counter,
    help: "Looks at days that have stayed unproven for hours, though their tills can be read",
    labels: &[PROVIDER],
    is_dated: false,
};
pub(super) static UNANNOUNCED: Metric = Metric {
    name: "pos_unannounced_sales_total",
    code: "un",
    kind: Kind::Counter,
    help: "Sales that a sync had to find, of connections whose deliveries used to come and have not come since",
    labels: &[PROVIDER],
    is_dated: false,
};
pub(super) static TOKEN_REFRESHES: Metric = Metric {
    name: "pos_token_refreshes_total",
    code: "tr",
    kind: Kind::Counter,
    help: "Renewals of credentials; after `refused` a person must connect again",
    labels: &[PROVIDER, Label { name: "outcome", values: &["renewed", "refused", "failed"] }],
    is_dated: false,
};
pub(super) static REQUESTS: Metric = Metric {
    name: "pos_requests_total",
    code: "rq",
    kind: Kind::Counter,
    help: "Requests to the API",
    labels: &[DOOR, STATUS],
    is_dated: false,
};
pub(super) static REQUEST: Metric = Metric {
    name: "pos_request_seconds",
    code: "rt",
    kind: LATENCY,
    help: "Requests to the API, from the event to the answer",
    labels: &[DOOR],
    is_dated: false,
};
pub(super) static DENIED: Metric = Metric {
    name: "pos_denied_total",
    code: "dn",
    kind: Kind::Counter,
    help: "Callers who were not let in: no good token, another tenant's path, a role that is missing",
    labels: &[Label { name: "reason", values: &["unauthorized", "other_tenant", "forbidden", "other"] }],
    is_dated: false,
};
pub(super) static COLD_STARTS: Metric = Metric {
    name: "pos_cold_starts_total",
    code: "cs",
    kind: Kind::Counter,
    help: "Execution environments that were asked for something for the first time",
    labels: &[FUNCTION],
    is_dated: false,
};
pub(super) static FLUSHES_FAILED: Metric = Metric {
    name: "pos_metric_flushes_failed_total",
    code: "ff",
    kind: Kind::Counter,
    help: "Times that an execution environment could not add its counts to the table, and kept them",
    labels: &[FUNCTION],
    is_dated: false,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::REASON;
    use crate::domain::{Code, Place};

    #[test]
    fn every_code_of_a_delivery_or_a_message_is_a_reason() {
        let places = &[Place::Ignored, Place::Failed, Place::Dead, Place::Later];
        let codes = Code::seen_in(places).map(Code::as_str).chain(["other"]);
        let (codes, reasons) = (codes.collect::<BTreeSet<_>>(), REASON.values.iter().copied().collect::<BTreeSet<_>>());
        assert_eq!(codes.symmetric_difference(&reasons).collect::<Vec<_>>(), Vec::<&&str>::new());
    }
}

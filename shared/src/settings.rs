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

/// Every variable that a function may read, and what it means. `infra/SETTINGS.md` is made of it.
#[cfg(any(feature = "bench", feature = "schema"))]
pub const VARIABLES: &[(&str, &str)] = &[
    ("AUDIT_LOG_TABLE", "name of the table of who changed what"),
    ("CONFIGURATIONS_TABLE", "name of the table of connections"),
    ("COORDINATION_TABLE", "name of the table of budgets, one-time words and answers to repeated requests"),
    ("CURSOR_SECRET_ID", "secret that cursors of listings and states of OAuth are signed with"),
    ("DAYS_TABLE", "name of the table of what shops' business days came to"),
    ("DAY_CLOSE_AFTER_MINUTES", "so long after its end a shop's business day is closed"),
    (
        "DAY_LOOK_AGAIN_SECONDS",
        "so long after the first look that proved nothing a day is looked at again, then four times as long, and so on",
    ),
    ("DEPLOYMENT_ENV", "where the stack runs, for the log"),
    ("INTAKE_ATTEMPTS", "after so many attempts a message is given up, with its reason"),
    ("INTAKE_BACKFILL_QUEUE_URL", "queue of what was sold long ago, and of jobs that may take their time"),
    ("INTAKE_DEAD_LETTER_QUEUE_URL", "queue of deliveries and pages that were given up"),
    ("INTAKE_QUEUE_URL", "queue of deliveries and of what is being sold"),
    ("JWKS_SECRET_ID", "secret that holds the identity provider's keys, where `JWKS_URL` is empty"),
    ("JWKS_URL", "where the identity provider publishes its keys; may be empty"),
    ("JWT_AUDIENCE", "exact `aud` of a bearer token"),
    ("JWT_ISSUER", "exact `iss` of a bearer token"),
    ("KMS_KEY_ID", "key that secrets are sealed with from now on"),
    ("LIGHTSPEED_BASE_URL", "replaces Lightspeed's hosts by a simulator; empty on AWS"),
    ("LIGHTSPEED_SECRET_ID", "secret that holds our application at Lightspeed"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "where spans are sent by functions that are built for it; may be empty"),
    ("OUTBOX_FIRST_RESEND_SECONDS", "after so many seconds without an answer a revision is sent again"),
    ("PRODUCT_MAPPINGS_TABLE", "name of the table of what tills sell and what tenants call it"),
    ("PROVIDER_RATE_PERCENT", "share of each provider's documented request rate that we use, per hundred"),
    ("PUBLIC_URL", "where the world reaches the API; may be empty: then where the gateway says"),
    ("REMOVAL_SETTLE_SECONDS", "how long a removal waits before it purges again: longer than any message is worked on"),
    ("RUST_LOG", "lowest level that is logged"),
    ("SALES_DEAD_LETTER_QUEUE_URL", "queue of events that the sales domain has given up"),
    ("SALES_DOMAIN_ANSWERS", "whether the sales domain answers: if not, what was sent is done"),
    ("SALES_QUEUE_URL", "queue of our events to the sales domain"),
    ("SALES_REPLIES_ATTEMPTS", "after so many attempts a command is answered as failed"),
    ("SALES_REPLIES_DEAD_LETTER_QUEUE_URL", "queue of replies that could not be taken, each with its reason"),
    ("SALES_REPLIES_QUEUE_URL", "queue of what the sales domain says to us"),
    ("SOLD_OUT_ENDINGS_QUEUE_URL", "queue of our own notes that something may be sold again"),
    ("SQUARE_BASE_URL", "replaces Square's hosts by a simulator; empty on AWS"),
    ("SQUARE_SECRET_ID", "secret that holds our application at Square and its webhook subscriptions"),
    ("SYNC_JOBS_DEAD_LETTER_QUEUE_URL", "queue of jobs that were given up"),
    ("SYNC_JOBS_QUEUE_URL", "queue of runs that somebody must work on"),
    ("SYNC_LOGS_TABLE", "name of the table of runs, their pages, watermarks and jobs"),
    ("SYNC_OVERLAP_SECONDS", "a window begins so long before what is complete: listings lag"),
    ("SYNC_PAGE_PATIENCE_SECONDS", "a run ends as partial if a page has no row after so long"),
    ("SYNC_SETTLE_SECONDS", "a window ends so long before now: listings lag"),
    ("TOAST_BASE_URL", "replaces Toast's hosts by a simulator; empty on AWS"),
    ("TOAST_SECRET_ID", "secret that holds our application at Toast and its webhook subscriptions"),
    ("RAW_LOG_RETENTION_DAYS", "so long an order stays as its provider had it"),
    ("RAW_LOG_TABLE", "name of the table of raw orders"),
    ("TRANSACTIONS_TABLE", "name of the table of transactions"),
    ("WEBHOOK_LOGS_TABLE", "name of the table of deliveries"),
    ("WEBHOOK_LOG_RETENTION_DAYS", "so long a delivery and its body stay"),
];

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

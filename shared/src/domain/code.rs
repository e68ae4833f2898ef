//! Stable words for why work came to another end than it should.

use std::fmt;

/// Where a [`Code`] is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A delivery that ended as `ignored`.
    Ignored,
    /// A delivery that ended as `failed`.
    Failed,
    /// A delivery that ended as `dead`.
    Dead,
    /// A message that comes again: in the log and the metrics. A replay that comes again for hours ends as `failed` with it.
    Later,
    /// An order that a sync could not take.
    Order,
    /// A run, a shop of it that was not read to its end, or a note of it.
    Run,
    /// A shop's day that is `not_provable`.
    Day,
}

impl Place {
    /// As the list of codes says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Later => "again",
            Self::Order => "order",
            Self::Run => "run",
            Self::Day => "day",
        }
    }
}

/// One line for each code: its word, where it is seen, what it means and what to do.
macro_rules! codes {
    ($($code:ident $word:literal [$($place:ident)+] $about:literal)+) => {
        /// Why work on a delivery, an order or a run came to another end than it should. Stable; more may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $about] $code,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            /// The word in tables, logs, metrics and the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => $word,)+ }
            }

            /// Where it is seen.
            pub const fn places(self) -> &'static [Place] {
                match self { $(Self::$code => &[$(Place::$place),+],)+ }
            }

            /// What it means, and what to do.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$code => $about,)+ }
            }
        }
    };
}

codes! {
    UnknownMerchant "unknown_merchant" [Ignored] "nobody has connected the merchant or shop that it names: connect it, its last days are read then"
    NoOrder "no_order" [Ignored] "it tells of something else than an order: nothing to do"
    OtherMerchant "other_merchant" [Ignored] "it came to a configuration's own URL and is about another merchant: register that URL for its own merchant alone"
    Paused "paused" [Ignored Run Day] "the configuration is paused: resume it, and a sync reads what was missed"
    Deleting "deleting" [Ignored] "the configuration is being removed: nothing to do"
    Draft "draft" [Ignored] "the order is none yet: nothing to do, what becomes of it is told, too"
    ReauthRequired "reauth_required" [Failed Run] "nothing can be read until somebody has connected again: call `authorize` or replace the credentials, then replay it"
    CredentialsRefused "credentials_refused" [Failed Run Day] "the provider refuses the credentials, renewed ones too: call `authorize` or replace them, then replay it"
    CredentialsNotAuthentic "credentials_not_authentic" [Failed Later] "what is sealed cannot be opened: connect the merchant again, and tell us"
    PermissionMissing "permission_missing" [Failed Run Day] "the merchant has not granted it: let it be granted as `test` names it, then replay it"
    RequestRefused "request_refused" [Failed Run Day] "the provider refuses what we ask: tell us"
    UnreadableAnswer "unreadable_answer" [Failed Run Day] "we cannot read what the provider answers: tell us"
    SeveralMerchants "several_merchants" [Failed Run Day] "the credentials reach more than one merchant: connect with those of one"
    Unsupported "unsupported" [Failed Order Run Day] "a shape of order, or a call, that this provider's part does not have: tell us"
    UnreadablePayload "unreadable_payload" [Failed Order Day] "no JSON, or not of the documented shape: tell us `detail`, replay it after the correction"
    MissingField "missing_field" [Failed Order Day] "a field is missing that we cannot do without: tell us `detail`, replay it after the correction"
    InvalidValue "invalid_value" [Failed Order Day] "a state, id, currency or number that is none: tell us `detail`, replay it after the correction"
    MixedCurrencies "mixed_currencies" [Failed Order Day] "an amount is in another currency than its order: tell us `detail`"
    UnknownLocation "unknown_location" [Failed Order Run Day] "a shop that the configuration does not have: call `test`, which looks the shops up, then replay it"
    AmountOutOfRange "amount_out_of_range" [Failed Order Day] "an amount that no till rings up: correct it at the till"
    EventTooLarge "event_too_large" [Failed] "the sale is stored and too large to be handed over as one event: tell us"
    BodyNotAuthentic "body_not_authentic" [Failed] "the kept body is not what was sealed: let its day be read again by a `repair` sync, and tell us"
    BodyNotKept "body_not_kept" [Failed] "the body was too large to be kept: let its day be read again by a `repair` sync"
    Expired "expired" [Failed] "the delivery has left the log before its replay began: let its day be read again by a `repair` sync"
    GivenUp "given_up" [Dead] "it came again until the queue gave it up, `detail` says why: replay it when that is gone"
    OrderTooLarge "order_too_large" [Order] "one order is larger than a message of our queue: tell us"
    Panicked "panicked" [Later Order] "a bug of ours, and in our log: tell us"
    OrderNotFound "order_not_found" [Later Run Day] "the provider does not have the order, or not yet: replay it if it should"
    ProviderLags "provider_lags" [Later] "the provider does not show yet what it has announced: nothing to do"
    ProviderUnavailable "provider_unavailable" [Later Run Day] "the provider does not answer: nothing to do; if it stays, look at its status page"
    ProviderBreakerOpen "provider_breaker_open" [Later] "the provider has failed so often that it is left alone for a minute: nothing to do"
    RateLimited "rate_limited" [Later] "the provider wants us to wait: nothing to do"
    Paced "paced" [Later] "the budget of requests is used up: nothing to do"
    CredentialsBeingRenewed "credentials_being_renewed" [Later] "somebody else is renewing the credentials: nothing to do"
    CursorExpired "cursor_expired" [Later Run Day] "the provider has forgotten where its list goes on, again and again: nothing to do, the next run reads it anew"
    OrderNotKept "order_not_kept" [Later] "an order could not be packed for the raw log: tell us"
    UnreadableMessage "unreadable_message" [Later] "a message on the queue that nobody of us wrote so: look at it in the dead-letter queue"
    OutOfTime "out_of_time" [Later] "the time of the invocation was used up: nothing to do"
    StoreUnavailable "store_unavailable" [Later] "a table did not answer: look at the health of AWS"
    QueueUnavailable "queue_unavailable" [Later] "a queue did not answer: look at the health of AWS"
    KeyServiceUnavailable "key_service_unavailable" [Later] "KMS did not answer: look at the key and at the health of AWS"
    SecretsUnavailable "secrets_unavailable" [Later] "an application secret could not be read: look whether it is filled in"
    Contended "contended" [Later] "two commands were written at once: nothing to do"
    AnotherCommand "another_command" [Later] "another command is just being carried out at the till: nothing to do"
    Requested "requested" [Run] "somebody did not want the run any more: nothing to do"
    NoProgress "no_progress" [Run] "its workers have ended again and again without keeping anything: tell us"
    PagesMissing "pages_missing" [Run] "pages were sent and not worked on in time: look at the intake queues; the next run reads them again"
    ListingCapped "listing_capped" [Day] "the provider's list looks as if it was cut, however short the time: compare the day with the provider's own report"
    CursorLoop "cursor_loop" [Run Day] "the provider's list points at the same page again: the next run reads it anew; if it stays, tell us"
    PageCap "page_cap" [Run Day] "more pages than a shop can fill: the provider's list does not end; tell us"
    FullPageWithoutNext "full_page_without_next" [Run] "the list ends with a full page, as one that was cut does: it was read again in halves; if it fails the shop, tell us"
    EqualCounts "equal_counts" [Run] "window after window shows the same number, as a cut list does: it was read again in halves, nothing to do"
    SilentCap "silent_cap" [Run] "the list was cut in silence, and its halves have shown more: nothing to do"
    TotalsNotRead "totals_not_read" [Run] "the provider did not tell its own count of the day: nothing to do"
    TotalsDisagree "totals_disagree" [Run] "the provider counts another sum to the day than its list shows: it was read again in halves"
    TotalsStillDisagree "totals_still_disagree" [Run] "and does so after that: compare the day with the provider's own report"
}

impl Code {
    /// The one of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// All that are seen in one of these places.
    pub fn seen_in(places: &'static [Place]) -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|code| code.places().iter().any(|place| places.contains(place)))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.as_str().to_owned()
    }
}

/// The shape of a delivery's code; null where it ended as `done`.
#[cfg(feature = "schema")]
pub fn delivery_code(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    shape(&[Place::Ignored, Place::Failed, Place::Dead, Place::Later], true)
}

/// The shape of a run's code; null where it was read to its end.
#[cfg(feature = "schema")]
pub fn run_code(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    shape(&[Place::Run], true)
}

/// The shape of the code of a run's note.
#[cfg(feature = "schema")]
pub fn note_code(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    shape(&[Place::Run], false)
}

/// The shape of the code of an order that could not be taken.
#[cfg(feature = "schema")]
pub fn order_code(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    shape(&[Place::Order], false)
}

#[cfg(feature = "schema")]
fn shape(places: &'static [Place], is_nullable: bool) -> schemars::Schema {
    let mut words: Vec<Option<&str>> = Code::seen_in(places).map(|code| Some(code.as_str())).collect();
    if is_nullable {
        words.push(None);
        return schemars::json_schema!({ "type": ["string", "null"], "enum": words });
    }
    schemars::json_schema!({ "type": "string", "enum": words })
}

//! What a transaction is.
//!
//! No AWS, no HTTP and no provider's word in here: everything else imports this room, and it imports none of ours.

mod availability;
mod business_day;
mod catalog;
mod code;
mod configuration;
mod day;
mod delivery;
mod doorbell;
mod ids;
mod mapping;
mod money;
mod past;
mod quantity;
mod rebuild;
mod redrive;
mod sync;
mod transaction;

pub use availability::{Availability, AvailabilityVerdict, Intent, ItemPlace, Said, Standing};
pub use business_day::{DayStart, InvalidDayStart, Location, TimeZoneName, UnknownTimeZone};
pub use catalog::CatalogItem;
pub use code::{Code, Place};
#[cfg(feature = "schema")]
pub use code::{delivery_code, note_code, order_code, run_code};
pub use configuration::{
    Configuration, ConfigurationStatus, CredentialsSummary, Deletion, DeletionStep, Environment, Health, Merchant,
    ProviderKind, ReasonCode, StatusReason, UnknownProvider, UnknownStatus, WebhookSecretSummary,
};
pub use day::{Certificate, CertificateMethod, DayProduct, DayState, DayTender, Figures};
pub use delivery::{DeliveryOutcome, Replay, ReplayRequest, Replayed, UnknownOutcome};
pub use doorbell::{Delays, Doorbell, FirstSeen, Sighting, Unannounced, doorbell_of, permille};
pub use ids::{
    Cause, ConfigurationId, EventId, ExternalOrderId, InvalidId, JobId, LocationId, MerchantId, ProductId, RedriveId,
    ReplayId, RunId, TenantId, TenantScope, TransactionId,
};
pub use mapping::{Import, ProductChange, RemappedDay};
pub use money::{Currency, Minor, MoneyError, UnknownCurrency};
pub use past::{DayOutcome, PastDay, PastJob, PastState};
pub use quantity::{InvalidQuantity, Quantity};
pub use rebuild::{AmountsDifference, Booked, ProductDifference, RebuiltDay, RebuiltTransaction, ShopDay};
pub use redrive::{DeadLetterQueue, Redrive, RedriveScope, RedriveState, UnknownDeadLetterQueue};
pub use sync::{
    DayCount, FailedOrder, LocationProgress, Run, RunNote, RunState, Span, Suspicion, SyncCounts, SyncKind, SyncRange,
    SyncRequest, SyncSettings, Trigger, Window,
};
pub use transaction::{
    Amounts, Discount, Discrepancy, DiscrepancyKind, LineItem, LineItemKind, Modifier, Payment, ServiceCharge,
    SourceVersion, Tax, Tender, Transaction, TransactionKind, TransactionStatus,
};

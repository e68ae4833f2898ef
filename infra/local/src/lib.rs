//! Everything around the service that a laptop or a test needs and AWS, a till or a neighbour would provide.
//!
//! Integration tests of `shared` and of the functions use this crate, so it must never depend on them: the stack is
//! driven from outside, by its AWS interfaces and by HTTP.
//!
//! - [`Bakery`]: a till's vendor and our service, connected; where nearly every test and the demo begin.
//! - [`Stack`]: an AWS emulator as a child process, with `template.yaml` deployed into it.
//! - [`Identity`]: the identity provider whose tokens the API accepts, good and bad ones.
//! - [`SalesDomain`]: the consumer behind the sales queue, and what it believes was sold.
//! - [`Proxy`]: counts and breaks AWS calls, for "exactly one call" and for crash points.

pub mod api;
mod identity;
mod opening;
mod options;
mod processes;
mod proxy;
mod sales_domain;
mod stack;
mod wait;

pub use contract::ledger::{Total, TotalKey};
pub use identity::{AUDIENCE, Flaw, ISSUER, Identity, NoRandomness, claims};
pub use opening::{Bakery, TENANT, connect_by_oauth, consent};
pub use options::{StackOptions, workspace};
pub use processes::FunctionProcess;
pub use proxy::{Call, Fault, Proxy};
pub use sales_domain::{Answers, Counts, KnownTransaction, SalesDomain};
pub use stack::{Stack, StartError};
pub use wait::wait_for;

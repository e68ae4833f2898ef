//! What every function of the POS integration service has in common.
//!
//! Reading order: [`domain`] (what a transaction is), [`providers`] (their words, turned into ours), [`vault`] and
//! [`access`] (credentials), [`store`] (tables), [`queue`] (messages), [`pace`] (how fast we ask),
//! then what the doors need.

#[cfg(all(feature = "vault", feature = "store", feature = "client", feature = "secrets"))]
pub mod access;
#[cfg(all(feature = "vault", feature = "store", feature = "client", feature = "secrets"))]
pub mod app;
#[cfg(all(feature = "vault", feature = "store"))]
pub mod archive;
pub mod auth;
#[cfg(feature = "aws")]
pub mod aws;
pub mod domain;
#[cfg(feature = "invocation")]
pub mod invocation;
#[cfg(feature = "store")]
pub mod pace;
pub mod problem;
pub mod providers;
#[cfg(feature = "queue")]
pub mod queue;
#[cfg(feature = "rest")]
pub mod rest;
#[cfg(feature = "secrets")]
pub mod secrets;
pub mod settings;
#[cfg(feature = "store")]
pub mod store;
pub mod telemetry;
#[cfg(feature = "vault")]
pub mod vault;

//! The tables. One struct for each, and the only code that names its attributes.

mod item;

pub mod configurations;
pub mod transactions;
pub mod webhook_logs;

use crate::aws::AwsError;

/// A table did not do what we asked, or holds what we cannot read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// DynamoDB refused or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// An item that this code cannot have written.
    #[error("{table} holds an unreadable item: {why}")]
    Unreadable {
        /// Which table.
        table: &'static str,
        /// Which attribute.
        why: String,
    },
    /// Others kept changing the item while we tried to.
    #[error("the item kept changing")]
    Contended,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Position> {
    /// What is on it.
    pub items: Vec<T>,
    /// After what the next one starts, if there is more.
    pub next: Option<Position>,
}

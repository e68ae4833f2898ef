//! What a consumer of our sales events must do: a consumer that does it, and a runner that tells whether another does.
//!
//! It knows `schemas/` and two queues, and nothing else of our service. In reading order:
//!
//! - [`event`]: what must be read of an event, and [`reply`]: what is said.
//! - [`ledger`]: the books, which bear repeats, disorder and revisions.
//! - [`consumer`]: the loop around them, and [`queue`]: SQS.
//! - [`books`]: totals as text, for what replies do not show.
//! - [`rules`]: what a consumer must do; [`letters`] are what it is sent, [`evidence`] is what it is judged by.
//! - [`runner`]: plays the rules to a consumer.

pub mod books;
pub mod consumer;
pub mod event;
pub mod evidence;
pub mod ledger;
pub mod letters;
pub mod queue;
pub mod reply;
pub mod rules;
pub mod runner;

//! The loop of a consumer: receive, write down, answer, delete, in this order.
//!
//! A crash between any two of these steps brings the message again, to books that know it already. What cannot be read
//! is neither answered nor deleted: the queue's redrive policy moves it to the dead letters, where a person looks.

use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_sqs::types::Message;
use aws_types::SdkConfig;

use crate::event::Unreadable;
use crate::queue::{BATCH, Outgoing, Queue};
use crate::reply::Reply;

/// A consumer's two queues.
#[derive(Debug, Clone)]
pub struct Consumer {
    sales: Queue,
    replies: Queue,
}

/// What one turn has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Messages that were read.
    pub taken: u64,
    /// Answers that are on the replies queue.
    pub answered: u64,
    /// Messages that stay on the queue because they cannot be read.
    pub unreadable: u64,
}

impl Consumer {
    /// URLs of the queue of events and of the queue of answers.
    #[must_use]
    pub fn new(config: &SdkConfig, sales_queue_url: &str, replies_queue_url: &str) -> Self {
        Self { sales: Queue::new(config, sales_queue_url), replies: Queue::new(config, replies_queue_url) }
    }

    /// What is on the queue, ten at most; none if none comes while we wait.
    ///
    /// # Errors
    /// When the queue cannot be asked.
    pub async fn receive(&self, wait: Duration) -> anyhow::Result<Vec<Message>> {
        self.sales.receive(wait).await
    }

    /// Takes what was received. `take` writes one message's body down, for good, and says what is to be answered; only
    /// when that is on its way, the message is deleted.
    ///
    /// # Errors
    /// When answers could not be sent or messages not be deleted. They come again.
    pub async fn work(
        &self,
        messages: &[Message],
        mut take: impl FnMut(&str) -> Result<Vec<Reply>, Unreadable>,
    ) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        let mut taken = Vec::with_capacity(messages.len());
        for message in messages {
            match take(message.body().unwrap_or_default()) {
                Ok(replies) => taken.push((message, replies)),
                // It must not hold up its neighbours.
                Err(Unreadable(_)) => turn.unreadable += 1,
            }
        }
        turn.taken = u64::try_from(taken.len())?;
        let replies: Vec<&Reply> = taken.iter().flat_map(|(_, replies)| replies).collect();
        let mut are_sent = self.answer(&replies).await.into_iter();
        let mut done = Vec::with_capacity(taken.len());
        let mut unanswered = 0_usize;
        for (message, replies) in &taken {
            let sent = are_sent.by_ref().take(replies.len()).filter(|is_sent| *is_sent).count();
            turn.answered += u64::try_from(sent)?;
            unanswered += replies.len() - sent;
            if sent == replies.len() {
                done.push(*message);
            }
        }
        self.sales.delete(&done).await?;
        if unanswered > 0 {
            anyhow::bail!("{unanswered} of {} answers could not be sent", replies.len());
        }
        Ok(turn)
    }

    /// Sends answers, and says of each whether it is on its way.
    pub async fn answer(&self, replies: &[&Reply]) -> Vec<bool> {
        let mut are_sent = Vec::with_capacity(replies.len());
        for some in replies.chunks(BATCH) {
            let bodies: Vec<String> = some.iter().map(|reply| reply.body().to_string()).collect();
            let messages: Vec<_> = bodies.iter().map(|body| Outgoing::plain(body)).collect();
            are_sent.extend(self.replies.send(&messages).await.unwrap_or_else(|_| vec![false; some.len()]));
        }
        are_sent
    }

    /// One turn of the loop: waits for messages, and works on them.
    ///
    /// # Errors
    /// When a queue fails. Nothing is lost: go on with the next turn.
    pub async fn turn(
        &self,
        wait: Duration,
        take: impl FnMut(&str) -> Result<Vec<Reply>, Unreadable>,
    ) -> anyhow::Result<Turn> {
        let messages = self.receive(wait).await?;
        self.work(&messages, take).await.context("a turn was not finished")
    }
}

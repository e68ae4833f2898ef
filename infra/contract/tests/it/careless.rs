//! Consumers with one flaw each, around the reference's books: mistakes that people make.

use std::collections::{BTreeMap, BTreeSet};

use contract::event::{Event, Kind, TransactionData, Unreadable};
use contract::ledger::Ledger;
use contract::reply::{Reply, Word};
use serde_json::Value;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It takes voided transactions without a word.
    SilentOnVoided,
    /// It answers without the name of its record.
    NamelessRecords,
    /// It answers the next revision as well.
    AnswersAhead,
    /// It answers nothing that it has answered before.
    SilentOnRepeats,
    /// It makes another record of a repeat.
    BooksRepeatsAgain,
    /// It has another record for each revision.
    RenamesRecords,
    /// The revision that came last counts.
    KeepsTheLast,
    /// What it has seen before it applies without looking at the revision.
    ReplaysRepeats,
    /// It does not look at the status.
    CountsEverything,
    /// It does not look at the kind.
    CountsRefundsAsSales,
    /// It refuses what has a field that it does not know.
    FearsNewFields,
    /// It looks at an event's shape and not at its type.
    IgnoresTypes,
    /// The statement of a day that came last counts.
    KeepsTheLastDay,
    /// It does not remember what is gone.
    BringsBackTheErased,
    /// It never forgets.
    KeepsTheErased,
    /// It ends with the first message that it cannot read.
    DiesOfPoison,
    /// It accepts what it cannot read, so that it does not come again.
    AcceptsPoison,
}

impl Flaw {
    /// Each with the rule that it breaks.
    pub const ALL: [(Self, &'static str); 17] = [
        (Self::SilentOnVoided, "answers"),
        (Self::NamelessRecords, "well-formed"),
        (Self::AnswersAhead, "nothing-unsent"),
        (Self::SilentOnRepeats, "repeats-are-answered"),
        (Self::BooksRepeatsAgain, "one-record"),
        (Self::RenamesRecords, "later-revision"),
        (Self::KeepsTheLast, "highest-revision"),
        (Self::ReplaysRepeats, "late-repeat"),
        (Self::CountsEverything, "only-completed"),
        (Self::CountsRefundsAsSales, "refunds"),
        (Self::FearsNewFields, "unknown-fields"),
        (Self::IgnoresTypes, "unknown-types"),
        (Self::KeepsTheLastDay, "days"),
        (Self::BringsBackTheErased, "erasure"),
        (Self::KeepsTheErased, "erasure"),
        (Self::DiesOfPoison, "poison"),
        (Self::AcceptsPoison, "poison"),
    ];
}

/// A consumer with a flaw.
pub struct Careless {
    flaw: Flaw,
    ledger: Ledger,
    /// The revision of each transaction that came last.
    last: BTreeMap<String, u64>,
    seen: BTreeSet<(String, u64)>,
    /// Grows with each event, and passes for a revision where revisions are not looked at.
    clock: u64,
    /// Configurations that are gone.
    erased: BTreeSet<String>,
    is_dead: bool,
}

impl Careless {
    pub fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            ledger: Ledger::default(),
            last: BTreeMap::new(),
            seen: BTreeSet::new(),
            clock: 0,
            erased: BTreeSet::new(),
            is_dead: false,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// As a consumer takes a message.
    #[expect(clippy::wildcard_enum_match_arm, reason = "each flaw shows in one place")]
    pub fn take(&mut self, body: &str) -> Result<Vec<Reply>, Unreadable> {
        self.clock += 1;
        if self.is_dead || (self.flaw == Flaw::FearsNewFields && body.contains("surprise")) {
            return Err(Unreadable("so it thinks".to_owned()));
        }
        let event = match (Event::read(body), self.flaw) {
            (Err(_), Flaw::AcceptsPoison) => return Ok(acceptance(body).into_iter().collect()),
            (Err(error), flaw) => {
                self.is_dead = flaw == Flaw::DiesOfPoison;
                return Err(error);
            }
            (Ok(Event::Other(named)), Flaw::IgnoresTypes) => {
                Event::read(&body.replace(&named, "pos.transaction.recorded.v1"))?
            }
            (Ok(Event::Erased(_)), Flaw::KeepsTheErased) => return Ok(Vec::new()),
            (Ok(Event::Erased(event)), Flaw::BringsBackTheErased) => {
                self.erased.insert(event.data.configuration_id.clone());
                Event::Erased(event)
            }
            (Ok(Event::Day(mut event)), Flaw::KeepsTheLastDay) => {
                event.data.revision = self.clock;
                Event::Day(event)
            }
            (Ok(event), _) => event,
        };
        let Event::Transaction(mut event) = event else {
            return Ok(self.ledger.take(event).reply.into_iter().collect());
        };
        let TransactionData { revision, transaction } = event.data.clone();
        let id = transaction.id;
        let is_repeat = !self.seen.insert((id.clone(), revision));
        let is_last = self.last.insert(id.clone(), revision) == Some(revision);
        let told = &mut event.data;
        match self.flaw {
            Flaw::CountsEverything => told.transaction.status = "completed".to_owned(),
            Flaw::CountsRefundsAsSales => told.transaction.kind = Kind::Sale,
            Flaw::BooksRepeatsAgain if is_repeat && is_last => told.transaction.id = format!("{id}-again"),
            Flaw::KeepsTheLast if !is_repeat => told.revision = self.clock,
            Flaw::ReplaysRepeats if is_repeat => told.revision = 1_000 + self.clock,
            Flaw::BringsBackTheErased => {
                // Another name, of which the books do not know that it is gone.
                let configuration = &mut told.transaction.configuration_id;
                if self.erased.contains(configuration) {
                    configuration.push_str("-again");
                }
            }
            _ => {}
        }
        let reply = self.ledger.take(Event::Transaction(event)).reply;
        let named = |reply: Reply| Reply { transaction_id: id.clone(), revision, ..reply };
        let named = |reply: Reply| Reply { configuration_id: transaction.configuration_id.clone(), ..named(reply) };
        let mut replies: Vec<Reply> = reply.into_iter().map(named).collect();
        let renamed = |replies: &mut Vec<Reply>, record: &str| {
            for reply in replies {
                reply.word = Word::Accepted { sales_record_id: record.to_owned() };
            }
        };
        match self.flaw {
            Flaw::SilentOnVoided if transaction.status == "voided" => replies.clear(),
            Flaw::SilentOnRepeats if is_repeat => replies.clear(),
            Flaw::NamelessRecords => renamed(&mut replies, ""),
            Flaw::RenamesRecords => renamed(&mut replies, &format!("sales-{id}-{revision}")),
            Flaw::AnswersAhead => {
                let ahead: Vec<Reply> =
                    replies.iter().map(|reply| Reply { revision: revision + 1, ..reply.clone() }).collect();
                replies.extend(ahead);
            }
            _ => {}
        }
        Ok(replies)
    }
}

/// Whatever can be found in it.
fn acceptance(body: &str) -> Option<Reply> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |pointer: &str| Some(body.pointer(pointer)?.as_str()?.to_owned());
    let transaction_id = text("/data/transaction/id")?;
    Some(Reply {
        tenant: text("/tenantid")?,
        configuration_id: text("/data/transaction/configuration_id")?,
        word: Word::Accepted { sales_record_id: format!("sales-{transaction_id}") },
        transaction_id,
        revision: 1,
    })
}

//! What was sent to a consumer, and what it has said and written down since: all that a rule may judge by.

use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

use crate::books::Books;
use crate::ledger::Total;
use crate::letters::{CURRENCY, Letter, Name, Scene};

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The consumer does it.
    Kept,
    /// It does not, and why we think so.
    Broken(String),
    /// It cannot be told, and why.
    NotObservable(String),
}

/// A message that was sent. Times count from the beginning of the run.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The place of the rule that it is for.
    pub rule: usize,
    /// The message.
    pub letter: Letter,
    /// When the queue had it.
    pub at: Duration,
}

/// A reply that was read.
#[derive(Debug, Clone)]
pub struct Heard {
    /// The message.
    pub body: String,
    /// When it was read.
    pub at: Duration,
    /// Its parts; nothing is there that is not of the right kind.
    said: Said,
}

/// A reply as far as it can be read: how well it is formed is a rule's question, not a condition of reading it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(rename = "type", deserialize_with = "if_readable")]
    reply_type: Option<String>,
    #[serde(deserialize_with = "if_readable")]
    tenantid: Option<String>,
    #[serde(deserialize_with = "if_readable")]
    data: Option<SaidOf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SaidOf {
    #[serde(deserialize_with = "if_readable")]
    configuration_id: Option<String>,
    #[serde(deserialize_with = "if_readable")]
    transaction_id: Option<String>,
    #[serde(deserialize_with = "if_readable")]
    revision: Option<u64>,
    #[serde(deserialize_with = "if_readable")]
    sales_record_id: Option<String>,
    #[serde(deserialize_with = "if_readable")]
    code: Option<String>,
}

fn if_readable<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

const ACCEPTED: &str = "sales.transaction.accepted.v1";
const REJECTED: &str = "sales.transaction.rejected.v1";

/// The published schemas of replies, by type.
static SCHEMAS: LazyLock<Vec<(&str, Option<Validator>)>> = LazyLock::new(|| {
    let availability = include_str!("../../../schemas/sales.product.availability.v1.json");
    let schemas = [
        (ACCEPTED, include_str!("../../../schemas/sales.transaction.accepted.v1.json")),
        (REJECTED, include_str!("../../../schemas/sales.transaction.rejected.v1.json")),
        ("sales.product.sold_out.v1", availability),
        ("sales.product.available.v1", availability),
    ];
    let validator = |text: &str| {
        let schema = serde_json::from_str(text).ok()?;
        jsonschema::options().should_validate_formats(true).build(&schema).ok()
    };
    schemas.map(|(reply_type, text)| (reply_type, validator(text))).into()
});

impl Heard {
    /// Reads a message of the replies queue.
    #[must_use]
    pub fn new(body: &str, at: Duration) -> Self {
        Self { body: body.to_owned(), at, said: serde_json::from_str(body).unwrap_or_default() }
    }

    fn data(&self) -> Option<&SaidOf> {
        self.said.data.as_ref()
    }

    /// Whether it is about this tenant, or about one of these transactions in the name of another one.
    #[must_use]
    pub fn concerns(&self, tenant: &str, sent: &[Sent]) -> bool {
        let transaction = self.transaction();
        let is_ours = |sent: &Sent| sent.letter.names.as_ref().map(|name| name.transaction_id.as_str()) == transaction;
        self.said.tenantid.as_deref() == Some(tenant) || (transaction.is_some() && sent.iter().any(is_ours))
    }

    fn transaction(&self) -> Option<&str> {
        self.data()?.transaction_id.as_deref()
    }

    /// Whether it is about a transaction, whatever it says.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.said.reply_type.as_deref(), Some(ACCEPTED | REJECTED))
    }

    fn is_accepted(&self) -> bool {
        self.said.reply_type.as_deref() == Some(ACCEPTED)
    }

    /// What is wrong with its form.
    pub(crate) fn flaw(&self) -> Option<String> {
        let Ok(body) = serde_json::from_str::<Value>(&self.body) else { return Some("it is no JSON".to_owned()) };
        let named = self.said.reply_type.as_deref().unwrap_or("missing");
        let Some((_, validator)) = SCHEMAS.iter().find(|(reply_type, _)| *reply_type == named) else {
            return Some(format!("its type is `{named}`"));
        };
        let Some(validator) = validator else { return Some("its schema cannot be read".to_owned()) };
        validator.iter_errors(&body).next().map(|error| format!("{error} (at `{}`)", error.instance_path()))
    }

    /// Why nothing was sent that it could be about.
    pub(crate) fn stranger(&self, tenant: &str, sent: &[Sent]) -> Option<String> {
        if self.said.tenantid.as_deref() != Some(tenant) {
            let named = self.said.tenantid.as_deref().unwrap_or("nobody");
            return Some(format!("it names tenant {named} instead of {tenant}"));
        }
        let name = Name {
            configuration_id: self.data()?.configuration_id.clone()?,
            transaction_id: self.transaction()?.to_owned(),
            revision: self.data()?.revision?,
        };
        let is_sent = sent.iter().any(|sent| sent.letter.names.as_ref() == Some(&name));
        let Name { configuration_id, transaction_id, revision } = name;
        (!is_sent).then(|| {
            format!(
                "no revision {revision} of transaction {transaction_id} of configuration {configuration_id} was sent"
            )
        })
    }
}

/// All that one rule may judge by.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'e> {
    /// What its events have in common.
    pub scene: &'e Scene,
    /// Its place.
    pub rule: usize,
    /// Everything that was sent, for other rules too.
    pub all_sent: &'e [Sent],
    /// Everything that was said to our tenant.
    pub heard: &'e [Heard],
    /// What the consumer believes, if it can be asked.
    pub books: Option<&'e Books>,
    /// How long an answer may take.
    pub limit: Duration,
}

impl<'e> Evidence<'e> {
    /// What was sent for this rule.
    pub fn sent(&self) -> impl Iterator<Item = &'e Sent> + use<'e> {
        let rule = self.rule;
        self.all_sent.iter().filter(move |sent| sent.rule == rule)
    }

    fn answers<'n>(&self, name: &'n Name) -> impl Iterator<Item = &'e Heard> + use<'e, 'n> {
        self.heard.iter().filter(move |heard| {
            let revision = heard.data().and_then(|data| data.revision);
            heard.is_answer() && heard.transaction() == Some(&name.transaction_id) && revision == Some(name.revision)
        })
    }

    /// Answers to this rule's transactions, of whatever revision.
    pub fn own_answers(&self) -> impl Iterator<Item = &'e Heard> + use<'e> {
        let names = |sent: &'e Sent| sent.letter.names.as_ref().map(|name| name.transaction_id.as_str());
        let own: Vec<&str> = self.sent().filter_map(names).collect();
        self.heard
            .iter()
            .filter(move |heard| heard.is_answer() && heard.transaction().is_some_and(|it| own.contains(&it)))
    }

    /// What must be answered for this rule, and how long each answer took. An event that was sent twice needs two.
    fn due(&self) -> Vec<(&'e Sent, &'e Name, Option<Duration>)> {
        let mut due: Vec<(&Sent, &Name, Option<Duration>)> = Vec::new();
        for sent in self.sent().filter(|sent| sent.letter.is_due) {
            if let Some(name) = &sent.letter.names {
                let nth = due.iter().filter(|(_, before, _)| *before == name).count();
                due.push((sent, name, self.answers(name).nth(nth).map(|heard| heard.at.saturating_sub(sent.at))));
            }
        }
        due
    }

    /// How many answers are missing that may still come in time.
    pub fn awaited(&self, now: Duration) -> usize {
        self.due().iter().filter(|(sent, _, took)| took.is_none() && sent.at + self.limit >= now).count()
    }

    /// The first event of this rule's that was not answered in time.
    pub fn unanswered(&self) -> Option<String> {
        let late = |took: Option<Duration>| took.is_none_or(|took| took > self.limit);
        let (_, name, took) = self.due().into_iter().find(|(_, _, took)| late(*took))?;
        let what = format!("revision {} of transaction {}", name.revision, name.transaction_id);
        Some(match took {
            Some(took) => format!("{what} was answered after {took:.1?}"),
            None => format!("{what} was not answered within {:?}, as often as it was sent", self.limit),
        })
    }

    /// What the consumer calls this rule's transactions, each name once.
    pub fn record_ids(&self) -> Vec<&'e str> {
        let ids = self.own_answers().filter(|heard| heard.is_accepted());
        let mut ids: Vec<&str> = ids.filter_map(|heard| heard.data()?.sales_record_id.as_deref()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether a transaction was accepted, in whatever revision.
    pub fn is_accepted(&self, transaction_id: &str) -> bool {
        self.heard.iter().any(|heard| heard.is_accepted() && heard.transaction() == Some(transaction_id))
    }

    /// Whether the consumer takes anything of ours.
    pub fn is_anything_accepted(&self) -> bool {
        self.heard.iter().any(Heard::is_accepted)
    }

    /// Why a transaction of this rule's was not taken. A consumer may reject what is made up, but then there is nothing to
    /// be seen.
    pub fn rejection(&self) -> Option<String> {
        let code = self.own_answers().find_map(|heard| {
            (heard.said.reply_type.as_deref() == Some(REJECTED))
                .then(|| heard.data().and_then(|data| data.code.as_deref()).unwrap_or("no code"))
        })?;
        Some(format!("the consumer has rejected it: {code}"))
    }

    /// Compares the consumer's books of the rule's day with what should be there: kind, how many, how much.
    pub fn books_are(&self, expected: &[(&str, u64, i64)]) -> Verdict {
        let Some(books) = self.books else {
            return Verdict::NotObservable("replies do not show it; --books would".to_owned());
        };
        for (kind, count, total_minor) in expected.iter().copied() {
            let Total { count: found, total_minor: sum } = books.total(&self.scene.business_date, CURRENCY, kind);
            if (found, sum) != (count, total_minor) {
                return Verdict::Broken(format!(
                    "the books of {} say {found} {kind}s = {sum}, and should say {count} = {total_minor}",
                    self.scene.business_date
                ));
            }
        }
        Verdict::Kept
    }
}

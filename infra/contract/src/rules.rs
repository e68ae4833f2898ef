//! What a consumer must do, one rule after the other.
//!
//! A rule is two pure functions: what to send, and what to make of what was said. All rules are played at once, step by
//! step: all first steps are sent together, and the second ones when those were answered, or had their time.

use serde_json::{Value, json};

use crate::evidence::{Evidence, Verdict};
use crate::letters::{Figures, Letter, Scene, Spec};

/// What is sent together.
pub type Step = Vec<Letter>;

/// One thing that a consumer must do.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Short, for programs.
    pub name: &'static str,
    /// For people.
    pub sentence: &'static str,
    script: fn(&Scene) -> Vec<Step>,
    judge: fn(&Evidence<'_>) -> Verdict,
}

impl Rule {
    /// What to send, step by step.
    #[must_use]
    pub fn script(&self, scene: &Scene) -> Vec<Step> {
        (self.script)(scene)
    }

    /// What to make of it.
    #[must_use]
    pub fn judge(&self, evidence: &Evidence<'_>) -> Verdict {
        (self.judge)(evidence)
    }
}

/// All of them.
pub const RULES: [Rule; 15] = [
    Rule {
        name: "answers",
        sentence: "Every transaction event is answered within the time limit: sales, refunds, open and voided ones.",
        script: |scene| {
            let specs = [Spec::sale(100), Spec::sale(200).refund(), Spec::sale(300).status("open")];
            let voided = Spec::sale(400).status("voided");
            vec![specs.iter().chain([&voided]).map(|spec| scene.event(spec)).collect()]
        },
        judge: |evidence| evidence.unanswered().map_or(Verdict::Kept, Verdict::Broken),
    },
    Rule {
        name: "well-formed",
        sentence: "Everything that is said fits its published schema.",
        script: |_| Vec::new(),
        judge: |evidence| {
            let flaw = |body: &str, flaw: String| Verdict::Broken(format!("{flaw}: {}", excerpt(body)));
            let broken = evidence.heard.iter().find_map(|heard| Some(flaw(&heard.body, heard.flaw()?)));
            broken.unwrap_or_else(|| if_anything_was_heard(evidence))
        },
    },
    Rule {
        name: "nothing-unsent",
        sentence: "Nothing is answered that was never sent: answers name the event's tenant, configuration, transaction and revision.",
        script: |_| Vec::new(),
        judge: |evidence| {
            let answers = evidence.heard.iter().filter(|heard| heard.is_answer());
            let mut strangers = answers.filter_map(|it| it.stranger(&evidence.scene.tenant, evidence.all_sent));
            strangers.next().map_or_else(|| if_anything_was_heard(evidence), Verdict::Broken)
        },
    },
    Rule {
        name: "repeats-are-answered",
        sentence: "An event that comes again is answered again: the first answer may have been lost.",
        script: |scene| {
            let event = scene.event(&Spec::sale(100));
            vec![vec![event.clone()], vec![event]]
        },
        judge: |evidence| match evidence.unanswered() {
            None => Verdict::Kept,
            Some(_) if evidence.own_answers().next().is_none() => unanswered_at_all(),
            Some(why) => Verdict::Broken(why),
        },
    },
    Rule {
        name: "one-record",
        sentence: "The same event twice is one record, under one sales_record_id.",
        script: |scene| {
            let event = scene.event(&Spec::sale(1_100));
            vec![vec![event.clone()], vec![event]]
        },
        judge: |evidence| one_record(evidence, 1_100),
    },
    Rule {
        name: "later-revision",
        sentence: "A later revision replaces the earlier one and keeps its sales_record_id.",
        script: |scene| {
            let sale = Spec::sale(1_200);
            vec![vec![scene.event(&sale)], vec![scene.event(&sale.revised(2, 1_250))]]
        },
        judge: |evidence| one_record(evidence, 1_250),
    },
    Rule {
        name: "highest-revision",
        sentence: "Revisions that come as 3, 1, 2 come to 3.",
        script: |scene| {
            let sale = Spec::sale(0);
            let revision = |revision, total| vec![scene.event(&sale.revised(revision, total))];
            vec![revision(3, 1_330), revision(1, 1_310), revision(2, 1_320)]
        },
        judge: |evidence| booked(evidence, &[("sale", 1, 1_330)]),
    },
    Rule {
        name: "late-repeat",
        sentence: "An event that was answered long ago and comes again after newer ones changes nothing.",
        script: |scene| {
            let sale = Spec::sale(1_400);
            let first = vec![scene.event(&sale)];
            vec![first.clone(), vec![scene.event(&sale.revised(2, 1_450))], first]
        },
        judge: |evidence| booked(evidence, &[("sale", 1, 1_450)]),
    },
    Rule {
        name: "only-completed",
        sentence: "Only completed transactions count: open ones do not yet, voided ones no longer.",
        script: |scene| {
            let voided = Spec::sale(1_500);
            let first = [&voided, &Spec::sale(1_510).status("open")].map(|spec| scene.event(spec));
            vec![first.into(), vec![scene.event(&voided.revised(2, 1_500).status("voided"))]]
        },
        judge: |evidence| booked(evidence, &[("sale", 0, 0)]),
    },
    Rule {
        name: "refunds",
        sentence: "Refunds are positive and stand apart from sales.",
        script: |scene| vec![[Spec::sale(1_600), Spec::sale(600).refund()].iter().map(|it| scene.event(it)).collect()],
        judge: |evidence| booked(evidence, &[("sale", 1, 1_600), ("refund", 1, 600)]),
    },
    Rule {
        name: "unknown-fields",
        sentence: "Fields that are not known do no harm: they will be added.",
        script: |scene| vec![vec![scene.event(&Spec::sale(1_700)).but(surprise)]],
        judge: |evidence| match evidence.unanswered() {
            Some(why) => Verdict::Broken(why),
            None => match evidence.rejection() {
                // It takes others like it, so it was not the shop or the tenant.
                Some(why) if evidence.is_anything_accepted() => Verdict::Broken(why),
                Some(why) => Verdict::NotObservable(why),
                None => if_shown(evidence, &[("sale", 1, 1_700)]),
            },
        },
    },
    Rule {
        name: "unknown-types",
        sentence: "Events of a type that is not known are taken without a word, and do no harm.",
        script: |scene| {
            let mut unknown = scene.event(&Spec::sale(1_810)).unanswered();
            unknown.event_type = "pos.transaction.tasted.v1";
            let unknown = unknown.but(|body| put(body, "", "type", json!("pos.transaction.tasted.v1")));
            vec![vec![unknown, scene.event(&Spec::sale(1_800))]]
        },
        judge: |evidence| match evidence.unanswered() {
            Some(why) => Verdict::Broken(why),
            None => match answered_against_the_rule(evidence) {
                Some(id) => Verdict::Broken(format!("{id} came in an event of an unknown type, and was accepted")),
                None => neighbours(evidence, &[("sale", 1, 1_800)]),
            },
        },
    },
    Rule {
        name: "days",
        sentence: "Of what is said of a day the highest revision counts, whatever came last.",
        script: |scene| {
            let day = |revision, sale_count, sales| {
                vec![scene.day(&Figures { revision, sale_count, sales, refund_count: 1, refunds: 100 })]
            };
            vec![day(1, 1, 1_910), day(3, 3, 1_930), day(2, 2, 1_920)]
        },
        judge: |evidence| match evidence.books {
            Some(books) if !books.have_days() => Verdict::NotObservable("the books have no days".to_owned()),
            Some(_) | None => evidence.books_are(&[("day_sale", 3, 1_930), ("day_refund", 1, 100)]),
        },
    },
    Rule {
        name: "erasure",
        sentence: "What a configuration has brought goes with it, and an event that comes late brings nothing back.",
        script: |scene| {
            let sale = Spec::sale(2_000);
            let late = scene.event(&sale.revised(2, 2_000)).unanswered();
            vec![vec![scene.event(&sale)], vec![scene.erased()], vec![late]]
        },
        judge: |evidence| booked(evidence, &[("sale", 0, 0)]),
    },
    Rule {
        name: "poison",
        sentence: "What cannot be read is not accepted, and does not hold up its neighbours.",
        script: |scene| {
            let poison = |change: fn(&mut Value)| scene.event(&Spec::sale(2_190)).unanswered().but(change);
            let nonsense = |body: &str| Letter { body: body.to_owned(), names: None, ..poison(|_| ()) };
            // After everything else, so that a consumer that dies of it breaks no other rule.
            let mut steps = vec![Step::new(); 3];
            steps.push(vec![
                scene.event(&Spec::sale(2_100)),
                nonsense("this is no JSON"),
                nonsense("[]"),
                poison(|body| drop(member(body, "/data").and_then(|data| data.remove("transaction")))),
                poison(|body| drop(member(body, "/data/transaction").and_then(|it| it.remove("amounts")))),
                poison(|body| put(body, "/data/transaction/amounts", "total_minor", json!("21.90"))),
                poison(|body| put(body, "/data", "revision", json!("one"))),
                scene.event(&Spec::sale(2_110)),
            ]);
            steps
        },
        judge: |evidence| match evidence.unanswered() {
            Some(why) => Verdict::Broken(format!("a neighbour was held up: {why}")),
            None => match answered_against_the_rule(evidence) {
                Some(id) => Verdict::Broken(format!("the event of {id} cannot be read, and was accepted")),
                None => neighbours(evidence, &[("sale", 2, 4_210)]),
            },
        },
    },
];

fn if_anything_was_heard(evidence: &Evidence<'_>) -> Verdict {
    if evidence.heard.is_empty() { unanswered_at_all() } else { Verdict::Kept }
}

fn unanswered_at_all() -> Verdict {
    Verdict::NotObservable("nothing was answered".to_owned())
}

/// A rule that only books can show.
fn booked(evidence: &Evidence<'_>, expected: &[(&str, u64, i64)]) -> Verdict {
    evidence.rejection().map_or_else(|| evidence.books_are(expected), Verdict::NotObservable)
}

/// A rule of which replies have shown enough, and books may show more.
fn neighbours(evidence: &Evidence<'_>, expected: &[(&str, u64, i64)]) -> Verdict {
    evidence.rejection().map_or_else(|| if_shown(evidence, expected), Verdict::NotObservable)
}

fn if_shown(evidence: &Evidence<'_>, expected: &[(&str, u64, i64)]) -> Verdict {
    if evidence.books.is_some() { evidence.books_are(expected) } else { Verdict::Kept }
}

fn one_record(evidence: &Evidence<'_>, total_minor: i64) -> Verdict {
    if let Some(why) = evidence.rejection() {
        return Verdict::NotObservable(why);
    }
    match evidence.record_ids().as_slice() {
        [] => Verdict::NotObservable("no answer had a sales_record_id".to_owned()),
        [_] => if_shown(evidence, &[("sale", 1, total_minor)]),
        ids => Verdict::Broken(format!("one transaction has several records: {}", ids.join(", "))),
    }
}

/// What was accepted although nobody should have answered it.
fn answered_against_the_rule<'e>(evidence: &Evidence<'e>) -> Option<&'e str> {
    let mut names = evidence.sent().filter(|sent| !sent.letter.is_due).filter_map(|sent| sent.letter.names.as_ref());
    names.find(|name| evidence.is_accepted(&name.transaction_id)).map(|name| name.transaction_id.as_str())
}

/// Something new wherever something new may stand.
fn surprise(body: &mut Value) {
    for place in ["", "/data", "/data/transaction", "/data/transaction/amounts", "/data/transaction/line_items/0"] {
        put(body, place, "surprise", json!({ "nested": [1, null, "ä"] }));
    }
}

fn member<'b>(body: &'b mut Value, place: &str) -> Option<&'b mut serde_json::Map<String, Value>> {
    body.pointer_mut(place)?.as_object_mut()
}

fn put(body: &mut Value, place: &str, name: &str, value: Value) {
    if let Some(object) = member(body, place) {
        object.insert(name.to_owned(), value);
    }
}

/// As much of a message as a line of a report bears.
fn excerpt(body: &str) -> String {
    body.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::books::{self, Books};
    use crate::event::{Event, Unreadable};
    use crate::evidence::{Heard, Sent};
    use crate::ledger::Ledger;
    use crate::reply::Reply;

    const LIMIT: Duration = Duration::from_secs(30);

    type Taken = Result<Vec<Reply>, Unreadable>;

    fn taken(ledger: &mut Ledger, body: &str) -> Taken {
        Ok(ledger.take(Event::read(body)?).reply.into_iter().collect())
    }

    /// Plays every rule to a consumer that needs `takes` for each message, and answers by `take`.
    fn played(
        takes: Duration,
        mut take: impl FnMut(&str) -> Taken,
        books: impl FnOnce() -> Option<Books>,
    ) -> BTreeMap<&'static str, Verdict> {
        let scenes: Vec<_> =
            (1..).take(RULES.len()).map(|day| Scene::new("t", "S", &format!("2026-11-{day:02}"))).collect();
        let (mut all_sent, mut heard, mut at) = (Vec::new(), Vec::new(), Duration::ZERO);
        for (index, (rule, scene)) in RULES.iter().zip(&scenes).enumerate() {
            for letter in rule.script(scene).into_iter().flatten() {
                let replies = take(&letter.body).unwrap_or_default();
                all_sent.push(Sent { rule: index, letter, at });
                at += takes;
                heard.extend(replies.iter().map(|reply| Heard::new(&reply.body().to_string(), at)));
            }
        }
        let (books, mut verdicts) = (books(), BTreeMap::new());
        for (index, (rule, scene)) in RULES.iter().zip(&scenes).enumerate() {
            let evidence = Evidence {
                scene,
                rule: index,
                all_sent: &all_sent,
                heard: &heard,
                books: books.as_ref(),
                limit: LIMIT,
            };
            verdicts.insert(rule.name, rule.judge(&evidence));
        }
        verdicts
    }

    fn of_verdict(verdicts: &BTreeMap<&'static str, Verdict>, is: fn(&Verdict) -> bool) -> Vec<&'static str> {
        verdicts.iter().filter(|(_, verdict)| is(verdict)).map(|(name, _)| *name).collect()
    }

    #[test]
    fn the_reference_books_keep_every_rule() {
        let ledger = std::cell::RefCell::new(Ledger::default());
        let shown = || Some(Books::read(&books::text(&ledger.borrow()).unwrap(), "t").unwrap());
        let verdicts = played(Duration::ZERO, |body| taken(&mut ledger.borrow_mut(), body), shown);
        assert_eq!(of_verdict(&verdicts, |it| *it != Verdict::Kept), [""; 0], "{verdicts:?}");
    }

    #[test]
    fn silence_keeps_no_rule() {
        let verdicts = played(Duration::ZERO, |_| Ok(Vec::new()), || None);
        assert_eq!(of_verdict(&verdicts, |it| *it == Verdict::Kept), [""; 0]);
        let broken = of_verdict(&verdicts, |it| matches!(it, Verdict::Broken(_)));
        assert_eq!(broken, ["answers", "poison", "unknown-fields", "unknown-types"]);
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let mut ledger = Ledger::default();
        let verdicts = played(LIMIT * 2, |body| taken(&mut ledger, body), || None);
        let Verdict::Broken(why) = &verdicts["answers"] else { panic!("{verdicts:?}") };
        assert!(why.ends_with("was answered after 60.0s"), "{why}");
    }

    #[test]
    fn what_is_rejected_shows_nothing_and_breaks_nothing() {
        let mut ledger = Ledger::refusing(["S".to_owned()]);
        let verdicts = played(Duration::ZERO, |body| taken(&mut ledger, body), || Some(Books::default()));
        assert_eq!(of_verdict(&verdicts, |it| matches!(it, Verdict::Broken(_))), [""; 0], "{verdicts:?}");
        let kept = of_verdict(&verdicts, |it| *it == Verdict::Kept);
        assert_eq!(kept, ["answers", "nothing-unsent", "repeats-are-answered", "well-formed"]);
        assert_eq!(verdicts["days"], Verdict::NotObservable("the books have no days".to_owned()));
        let rejected = Verdict::NotObservable("the consumer has rejected it: unknown_location".to_owned());
        assert_eq!(verdicts["refunds"], rejected);
    }

    #[test]
    fn a_field_that_is_not_known_is_no_reason_to_reject() {
        let (mut fearless, mut fearful) = (Ledger::default(), Ledger::refusing(["S".to_owned()]));
        let take = |body: &str| taken(if body.contains("surprise") { &mut fearful } else { &mut fearless }, body);
        let verdicts = played(Duration::ZERO, take, || None);
        assert_eq!(of_verdict(&verdicts, |it| matches!(it, Verdict::Broken(_))), ["unknown-fields"], "{verdicts:?}");
    }

    #[test]
    fn an_answer_in_another_name_is_seen() {
        type Change = fn(&mut Reply);
        let changes: [(Change, &str); 3] = [
            (|reply| reply.tenant = "other".to_owned(), "it names tenant other instead of t"),
            (|reply| reply.configuration_id = "019ac9d4-0000-7000-8000-000000000001".to_owned(), "no revision 1 of"),
            (|reply| reply.revision += 7, "no revision 8 of"),
        ];
        for (change, complaint) in changes {
            let mut ledger = Ledger::default();
            let take = |body: &str| {
                let mut replies = taken(&mut ledger, body)?;
                replies.iter_mut().for_each(change);
                Ok(replies)
            };
            let verdicts = played(Duration::ZERO, take, || None);
            let Verdict::Broken(why) = &verdicts["nothing-unsent"] else { panic!("{verdicts:?}") };
            assert!(why.starts_with(complaint), "{why}");
        }
    }
}

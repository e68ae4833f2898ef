//! What a provider knows of its objects, and where each stands in its lists.
//!
//! An object is kept as what it takes to write its JSON, and written when it
//! is asked for: a history of many thousand orders is on the shelf in seconds.
//! Objects keep their earlier copies, so that a lagging replica can be imitated.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

/// What it takes to write the JSON of one copy of an object, always the same.
#[derive(Clone)]
pub struct Draft(Arc<dyn Fn() -> Value + Send + Sync>);

impl Draft {
    pub fn of(write: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    pub fn write(&self) -> Value {
        (self.0)()
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{…}")
    }
}

/// What a list is sorted by, or asked for by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Created,
    Changed,
    Closed,
    /// A business day, as its midnight in UTC.
    Day,
    PaidOn,
    RefundedOn,
    VoidedOn,
}

/// A new copy of an object, with what lists have to know of it.
#[derive(Debug, Clone)]
pub struct Object {
    pub shelf: &'static str,
    pub id: Arc<str>,
    pub location: Arc<str>,
    pub state: &'static str,
    pub times: Vec<(By, Timestamp)>,
    pub json: Draft,
}

impl Object {
    pub fn new(shelf: &'static str, id: &str, location: &str, json: Draft) -> Self {
        Self { shelf, id: id.into(), location: location.into(), state: "", times: Vec::new(), json }
    }

    /// Adds a time, as exact as the JSON has it.
    pub fn at(mut self, by: By, stamp: impl Into<Option<Timestamp>>) -> Self {
        let stamp = stamp.into().and_then(|stamp| Timestamp::from_millisecond(stamp.as_millisecond()).ok());
        self.times.extend(stamp.map(|stamp| (by, stamp)));
        self
    }

    pub fn time(&self, by: By) -> Option<Timestamp> {
        self.times.iter().find(|(known, _)| *known == by).map(|(_, stamp)| *stamp)
    }
}

/// One object with all its earlier copies; what was always there has no moment.
type Copies = Vec<(Option<Instant>, Object)>;

/// All objects of one kind.
#[derive(Debug, Default)]
pub struct Shelf {
    objects: BTreeMap<Arc<str>, Copies>,
    /// The newest copies in the order of every list.
    places: BTreeSet<(By, Arc<str>, Timestamp, Arc<str>)>,
    /// What was written when, for replicas that do not know it yet.
    lately: Vec<(Instant, Arc<str>)>,
}

/// Where a list goes on: behind the item with this time and id.
pub type After = (Timestamp, String);

/// A part of a list.
pub struct Wanted<'a> {
    pub by: By,
    pub locations: &'a [&'a str],
    /// Both ends are inside.
    pub from: Timestamp,
    pub to: Timestamp,
    pub after: Option<&'a After>,
    pub descending: bool,
    /// How far behind the replica is that answers.
    pub lag: Duration,
}

impl Shelf {
    pub const fn new() -> Self {
        Self { objects: BTreeMap::new(), places: BTreeSet::new(), lately: Vec::new() }
    }

    /// `written`: `None` is history, which has no earlier copies.
    pub fn write(&mut self, object: Object, written: Option<Instant>) {
        let id = Arc::clone(&object.id);
        let copies = self.objects.entry(Arc::clone(&id)).or_default();
        if let Some((_, known)) = copies.last() {
            for (by, stamp) in &known.times {
                self.places.remove(&(*by, Arc::clone(&known.location), *stamp, Arc::clone(&id)));
            }
        }
        for (by, stamp) in &object.times {
            self.places.insert((*by, Arc::clone(&object.location), *stamp, Arc::clone(&id)));
        }
        match written {
            None => copies.clear(),
            Some(written) => self.lately.push((written, id)),
        }
        copies.push((written, object));
    }

    /// What a replica knows of an object that is this far behind.
    pub fn seen(&self, id: &str, lag: Duration) -> Option<&Object> {
        let known = |written: &Option<Instant>| written.is_none_or(|written| written.elapsed() >= lag);
        self.objects.get(id)?.iter().rev().find(|(written, _)| known(written)).map(|(_, object)| object)
    }

    /// The first so many objects of a list that are wanted, in its order.
    pub fn list(&self, wanted: &Wanted<'_>, most: usize, fits: impl Fn(&Object) -> bool) -> Vec<(Timestamp, &Object)> {
        let Wanted { by, from, to, after, descending, lag, .. } = *wanted;
        // Those that a replica sees elsewhere, or not yet.
        let news = self.lately.iter().rev().take_while(|(written, _)| written.elapsed() < lag);
        let news: BTreeSet<&str> = news.map(|(_, id)| &**id).collect();
        let passed = |stamp: Timestamp, id: &str| {
            after.is_some_and(|after| {
                let (place, last) = ((stamp, id), (after.0, after.1.as_str()));
                if descending { place >= last } else { place <= last }
            })
        };
        let (first, last) = match (after, descending) {
            (Some(after), false) => (from.max(after.0), to),
            (Some(after), true) => (from, to.min(after.0)),
            (None, _) => (from, to),
        };
        let mut found = Vec::new();
        for location in wanted.locations {
            let location: Arc<str> = (*location).into();
            let end = last.saturating_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(last);
            let ends = (
                Bound::Included((by, Arc::clone(&location), first, Arc::from(""))),
                Bound::Excluded((by, Arc::clone(&location), end, Arc::from(""))),
            );
            if first > last {
                continue;
            }
            let mut places = self.places.range(ends);
            let next = || if descending { places.next_back() } else { places.next() };
            let here = std::iter::from_fn(next)
                .filter(|(_, _, stamp, id)| !news.contains(&**id) && !passed(*stamp, id))
                .filter_map(|(_, _, stamp, id)| Some((*stamp, &self.objects.get(id)?.last()?.1)));
            found.extend(here.filter(|(_, object)| fits(object)).take(most));
        }
        let old = news.iter().filter_map(|id| self.seen(id, lag)).filter_map(|object| Some((object.time(by)?, object)));
        found.extend(old.filter(|(stamp, object)| {
            let here = wanted.locations.contains(&&*object.location) && (from..=to).contains(stamp);
            here && !passed(*stamp, &object.id) && fits(object)
        }));
        found.sort_by(|a, b| (a.0, &a.1.id).cmp(&(b.0, &b.1.id)));
        if descending {
            found.reverse();
        }
        found.truncate(most);
        found
    }
}

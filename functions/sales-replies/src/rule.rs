//! What a sold-out command means at one item, from what we have said there before and what the till shows. Pure.
//!
//! A till's staff knows best. What the till shows and we have not left there, somebody at the till has said, and it stands
//! against every command that only says again what was said before; a command that says the opposite is news. The one
//! thing that nobody needs to have said is that a count has run out.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use shared::domain::{Availability, AvailabilityVerdict, Intent, Quantity, Said, Standing};
use shared::providers::AvailabilitySupport;
use shared::queue::sales::Phase;

/// Longer than an invocation: after it, whoever was about to write is dead.
const LEASE: SignedDuration = SignedDuration::from_secs(60);

/// What a command wants the till to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// No more.
    SoldOut,
    /// There is some again, so many if somebody has said it.
    Available(Option<Quantity>),
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This is to be shown.
    Write(Availability),
    /// Nothing, and why.
    Settled(AvailabilityVerdict),
}

/// What a wish comes to where the till shows this.
///
/// | we left there | the till shows | wanted | |
/// |---|---|---|---|
/// | anything | sold out | sold out | unchanged |
/// | nothing, or that it is there | it is there | sold out | written |
/// | sold out | it is there | sold out | overridden |
/// | anything | it is there | available | unchanged; with another count than is shown: written |
/// | nothing, sold out, or a count | sold out | available | written |
/// | that it is there, without a count | sold out | available | overridden |
///
/// Available without a count is what we took away, if it was us who sold it out. If not, a provider that counts cannot be
/// told: unsupported.
pub fn decide(stands: Option<Standing>, shown: Availability, wish: Wish, support: AvailabilitySupport) -> Decision {
    let left = stands.map(|stands| stands.left);
    match (wish, shown.is_sold_out()) {
        (Wish::SoldOut, true) => Decision::Settled(AvailabilityVerdict::Unchanged),
        (Wish::SoldOut, false) if left == Some(Availability::SoldOut) => {
            Decision::Settled(AvailabilityVerdict::Overridden)
        }
        (Wish::SoldOut, false) => Decision::Write(Availability::SoldOut),
        (Wish::Available(Some(quantity)), false) if shown != Availability::Left(quantity) => {
            Decision::Write(Availability::Left(quantity))
        }
        (Wish::Available(_), false) => Decision::Settled(AvailabilityVerdict::Unchanged),
        (Wish::Available(_), true) if left == Some(Availability::Available) => {
            Decision::Settled(AvailabilityVerdict::Overridden)
        }
        (Wish::Available(Some(quantity)), true) => Decision::Write(Availability::Left(quantity)),
        (Wish::Available(None), true) => {
            let uncounted = match support {
                AvailabilitySupport::AllItems => Some(Availability::Available),
                AvailabilitySupport::CountedItems | AvailabilitySupport::Nothing => None,
            };
            match stands.and_then(|stands| stands.before).or(uncounted) {
                Some(to) => Decision::Write(to),
                None => Decision::Settled(AvailabilityVerdict::Unsupported),
            }
        }
    }
}

/// What stands at the till as ours, once nothing had to be written.
pub fn settled(stands: Option<Standing>, shown: Availability, verdict: AvailabilityVerdict) -> Option<Standing> {
    if verdict != AvailabilityVerdict::Unchanged {
        return stands;
    }
    // Said twice, it is still the first word that took the count away.
    let before = stands.filter(|stands| stands.left == shown).and_then(|stands| stands.before);
    Some(Standing { left: shown, before })
}

/// Whose turn it is at an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This command's.
    Ours,
    /// This command's; an attempt before this one was about to write, and may have.
    Resumed(Intent),
    /// It has been.
    Been(AvailabilityVerdict),
    /// A newer command's: this one comes too late.
    Superseded,
    /// An older command is about to write: a moment later it is ours.
    Busy(Duration),
}

/// Whose turn it is, from what is remembered. The newest command counts; of two of the same moment, the one with the
/// greater id. The end of a command's `until` is a part of it, and comes to nothing once there is a newer one.
pub fn turn(said: Option<&Said>, (id, given_at, phase): (&str, Timestamp, Phase), now: Timestamp) -> Turn {
    let Some(said) = said else {
        return match phase {
            Phase::Given => Turn::Ours,
            Phase::Ended => Turn::Superseded,
        };
    };
    if said.command_id == id {
        let been = match phase {
            Phase::Given => said.verdict,
            Phase::Ended => said.ended,
        };
        return match (been, said.intent) {
            (Some(verdict), _) => Turn::Been(verdict),
            (None, Some(intent)) => Turn::Resumed(intent),
            (None, None) => Turn::Ours,
        };
    }
    if phase == Phase::Ended || (said.given_at, said.command_id.as_str()) > (given_at, id) {
        return Turn::Superseded;
    }
    let lease = said.intent.map(|intent| (intent.at + LEASE).duration_since(now));
    match lease.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero()) {
        Some(left) => Turn::Busy(left),
        None => Turn::Ours,
    }
}

/// What stands there as ours: what we have noted, or what somebody was about to write who died before noting it, if the
/// till shows it.
pub fn left_behind(said: &Said, shown: Availability) -> Option<Standing> {
    let intent = said.intent.filter(|intent| intent.to.is_sold_out() == shown.is_sold_out());
    intent.map(|intent| intent.leaves()).or(said.stands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const OUT: Availability = Availability::SoldOut;
    const THERE: Availability = Availability::Available;

    fn left(count: &str) -> Availability {
        Availability::Left(count.parse().unwrap())
    }

    #[test]
    fn a_command_is_weighed_against_our_last_word_and_what_the_till_shows() {
        use AvailabilitySupport::{AllItems, CountedItems};
        use AvailabilityVerdict::{Overridden, Unchanged, Unsupported};
        use Decision::{Settled, Write};
        let stands = |left, before| Some(Standing { left, before });
        let again = |count: &str| Wish::Available(Some(count.parse().unwrap()));
        for (ours, shown, wish, support, expected) in [
            // Nobody has said anything yet.
            (None, THERE, Wish::SoldOut, AllItems, Write(OUT)),
            (None, left("3"), Wish::SoldOut, CountedItems, Write(OUT)),
            (None, OUT, Wish::SoldOut, CountedItems, Settled(Unchanged)),
            (None, THERE, Wish::Available(None), AllItems, Settled(Unchanged)),
            (None, OUT, Wish::Available(None), AllItems, Write(THERE)),
            (None, OUT, Wish::Available(None), CountedItems, Settled(Unsupported)),
            (None, OUT, again("24"), CountedItems, Write(left("24"))),
            // We have sold it out.
            (stands(OUT, Some(THERE)), OUT, Wish::SoldOut, AllItems, Settled(Unchanged)),
            (stands(OUT, Some(THERE)), THERE, Wish::SoldOut, AllItems, Settled(Overridden)),
            (stands(OUT, Some(left("3"))), left("9"), Wish::SoldOut, CountedItems, Settled(Overridden)),
            (stands(OUT, Some(THERE)), THERE, Wish::Available(None), AllItems, Settled(Unchanged)),
            (stands(OUT, Some(left("3"))), left("9"), Wish::Available(None), CountedItems, Settled(Unchanged)),
            // What we took away comes back.
            (stands(OUT, Some(THERE)), OUT, Wish::Available(None), AllItems, Write(THERE)),
            (stands(OUT, Some(left("3"))), OUT, Wish::Available(None), AllItems, Write(left("3"))),
            (stands(OUT, Some(left("3"))), OUT, Wish::Available(None), CountedItems, Write(left("3"))),
            (stands(OUT, Some(left("3"))), OUT, again("24"), CountedItems, Write(left("24"))),
            (stands(OUT, None), OUT, Wish::Available(None), CountedItems, Settled(Unsupported)),
            // We have said that it is there.
            (stands(THERE, None), OUT, Wish::Available(None), AllItems, Settled(Overridden)),
            (stands(THERE, None), OUT, again("24"), AllItems, Settled(Overridden)),
            (stands(THERE, None), OUT, Wish::SoldOut, AllItems, Settled(Unchanged)),
            (stands(THERE, None), THERE, Wish::SoldOut, AllItems, Write(OUT)),
            // A count runs out by itself.
            (stands(left("24"), None), OUT, again("24"), CountedItems, Write(left("24"))),
            (stands(left("24"), None), OUT, Wish::Available(None), AllItems, Write(THERE)),
            (stands(left("24"), None), left("9"), Wish::SoldOut, CountedItems, Write(OUT)),
            // A count is what is wanted, or it is not.
            (stands(left("24"), None), left("24"), again("24"), CountedItems, Settled(Unchanged)),
            (stands(left("24"), None), left("9"), again("24"), CountedItems, Write(left("24"))),
            (None, THERE, again("24"), AllItems, Write(left("24"))),
        ] {
            assert_eq!(decide(ours, shown, wish, support), expected, "{ours:?} {shown:?} {wish:?} {support:?}");
        }
    }

    #[test]
    fn what_needed_no_write_is_ours_from_then_on_and_what_was_refused_is_not() {
        use AvailabilityVerdict::{Overridden, Unchanged};
        let ours = Some(Standing { left: OUT, before: Some(left("3")) });
        assert_eq!(settled(None, OUT, Unchanged), Some(Standing { left: OUT, before: None }));
        assert_eq!(settled(ours, OUT, Unchanged), ours, "the count that we took away is still known");
        assert_eq!(settled(ours, left("9"), Unchanged), Some(Standing { left: left("9"), before: None }));
        assert_eq!(settled(ours, left("9"), Overridden), ours);
    }

    #[test]
    fn the_newest_command_has_its_turn_and_a_repeat_has_had_it() {
        let at = |second: i64| Timestamp::from_second(1_770_000_000 + second).unwrap();
        let intent = Intent { to: OUT, from: THERE, key: Uuid::nil(), at: at(100) };
        let stands = Some(Standing { left: THERE, before: None });
        let said = |intent, verdict, ended| Said {
            command_id: "b".to_owned(),
            given_at: at(0),
            stands,
            intent,
            verdict,
            ended,
        };
        let (given, ended) = (Phase::Given, Phase::Ended);
        let (applied, unchanged) = (Some(AvailabilityVerdict::Applied), Some(AvailabilityVerdict::Unchanged));
        let done = said(None, applied, None);
        let dying = said(Some(intent), None, None);
        for (known, command, now, expected) in [
            (None, ("a", at(0), given), at(0), Turn::Ours),
            (None, ("a", at(0), ended), at(0), Turn::Superseded),
            (Some(&done), ("b", at(0), given), at(0), Turn::Been(AvailabilityVerdict::Applied)),
            (Some(&done), ("b", at(0), ended), at(0), Turn::Ours),
            (
                Some(&said(None, applied, unchanged)),
                ("b", at(0), ended),
                at(0),
                Turn::Been(AvailabilityVerdict::Unchanged),
            ),
            (Some(&said(None, None, None)), ("b", at(0), given), at(0), Turn::Ours),
            (Some(&dying), ("b", at(0), given), at(300), Turn::Resumed(intent)),
            // Older, newer, and of the same moment.
            (Some(&done), ("z", at(-1), given), at(0), Turn::Superseded),
            (Some(&done), ("a", at(1), given), at(0), Turn::Ours),
            (Some(&done), ("a", at(0), given), at(0), Turn::Superseded),
            (Some(&done), ("c", at(0), given), at(0), Turn::Ours),
            (Some(&done), ("c", at(1), ended), at(0), Turn::Superseded),
            // The one before may still be writing.
            (Some(&dying), ("c", at(1), given), at(101), Turn::Busy(Duration::from_secs(59))),
            (Some(&dying), ("c", at(1), given), at(160), Turn::Ours),
            (Some(&dying), ("a", at(-1), given), at(101), Turn::Superseded),
        ] {
            assert_eq!(turn(known, command, now), expected, "{known:?} {command:?} {now}");
        }
        let sold_out = Some(Standing { left: OUT, before: Some(THERE) });
        assert_eq!(
            [left_behind(&dying, OUT), left_behind(&dying, THERE), left_behind(&done, OUT)],
            [sold_out, stands, stands]
        );
    }
}

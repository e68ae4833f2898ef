//! All providers together: one seed, one clock, one control desk.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::door::Door;
use crate::lightspeed::Lightspeed;
use crate::provider::Provider;
use crate::shops::Vendor;
use crate::square::Square;
use crate::stage::Opening;
use crate::toast::Toast;
use crate::{Client, Refused, SandboxOptions};

#[derive(Debug)]
pub struct Town {
    pub clock: Arc<Clock>,
    pub square: Arc<Square>,
    pub toast: Arc<Toast>,
    pub lightspeed: Arc<Lightspeed>,
}

impl Town {
    pub fn open(options: &SandboxOptions, runtime: &tokio::runtime::Handle) -> Result<Arc<Self>, reqwest::Error> {
        let clock = Arc::new(Clock::new(options.now, options.clock_runs.then_some(options.speed)));
        let opening = Opening { options: options.clone(), clock: Arc::clone(&clock), runtime: runtime.clone() };
        Ok(Arc::new(Self {
            square: Square::open(opening.clone())?,
            toast: Toast::open(opening.clone())?,
            lightspeed: Lightspeed::open(opening)?,
            clock,
        }))
    }

    pub fn at(&self, vendor: Vendor) -> &dyn Provider {
        match vendor {
            Vendor::Square => &*self.square,
            Vendor::Toast => &*self.toast,
            Vendor::Lightspeed => &*self.lightspeed,
        }
    }

    pub fn door(&self, vendor: Vendor) -> &Door {
        &self.at(vendor).front().door
    }

    /// What the application is known by; Toast has credentials for each group.
    pub fn client(&self, vendor: Vendor, merchant_id: Option<&str>) -> Result<Client, Refused> {
        match vendor {
            Vendor::Square => {
                let application = self.square.application();
                Ok(Client { id: application.id, secret: application.secret })
            }
            Vendor::Toast => self.toast.client(merchant_id),
            Vendor::Lightspeed => Ok(self.lightspeed.client()),
        }
    }

    pub fn advance_clock(&self, by: Duration) -> Timestamp {
        self.clock.advance(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
    }
}

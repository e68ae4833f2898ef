//! All providers together: one seed, one clock, one control desk.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::door::{Calls, Door};
use crate::lightspeed::Lightspeed;
use crate::shops::{Businesses, Merchant, Vendor};
use crate::square::{Grant, Square};
use crate::toast::Toast;
use crate::{Refused, SandboxOptions};

#[derive(Debug)]
pub struct Town {
    pub clock: Arc<Clock>,
    pub square: Arc<Square>,
    pub toast: Arc<Toast>,
    pub lightspeed: Arc<Lightspeed>,
}

impl Town {
    pub fn open(options: &SandboxOptions, runtime: &tokio::runtime::Handle) -> Result<Arc<Self>, reqwest::Error> {
        let clock = Arc::new(Clock::new(options.now));
        Ok(Arc::new(Self {
            square: Square::open(options.clone(), Arc::clone(&clock), runtime.clone())?,
            toast: Toast::open(options, Arc::clone(&clock)),
            lightspeed: Lightspeed::open(options, Arc::clone(&clock)),
            clock,
        }))
    }

    pub fn door(&self, vendor: Vendor) -> &Door {
        match vendor {
            Vendor::Square => &self.square.door,
            Vendor::Toast => &self.toast.door,
            Vendor::Lightspeed => &self.lightspeed.door,
        }
    }

    fn businesses(&self, vendor: Vendor) -> &Businesses {
        match vendor {
            Vendor::Square => &self.square.businesses,
            Vendor::Toast => &self.toast.businesses,
            Vendor::Lightspeed => &self.lightspeed.businesses,
        }
    }

    pub fn merchants(&self, vendor: Vendor) -> Vec<Merchant> {
        self.businesses(vendor).merchants()
    }

    pub fn calls(&self, vendor: Vendor) -> Calls {
        self.door(vendor).calls()
    }

    pub fn grant(&self, vendor: Vendor, merchant_id: Option<&str>, scopes: &[&str]) -> Result<Grant, Refused> {
        match vendor {
            Vendor::Square => self.square.grant(merchant_id, scopes),
            Vendor::Toast => self.toast.grant(merchant_id, scopes),
            Vendor::Lightspeed => self.lightspeed.grant(merchant_id, scopes),
        }
    }

    pub fn revoke(&self, vendor: Vendor, merchant_id: &str) -> Result<(), Refused> {
        match vendor {
            Vendor::Square => self.square.revoke(merchant_id, "MERCHANT"),
            Vendor::Toast => self.toast.revoke(merchant_id),
            Vendor::Lightspeed => self.lightspeed.revoke(merchant_id),
        }
    }

    pub fn expire_tokens(&self, vendor: Vendor) {
        match vendor {
            Vendor::Square => self.square.expire_tokens(),
            Vendor::Toast => self.toast.expire_tokens(),
            Vendor::Lightspeed => self.lightspeed.expire_tokens(),
        }
    }

    pub fn advance_clock(&self, by: Duration) -> Timestamp {
        self.clock.advance(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX))
    }
}

//! Orders as their provider had them, kept before anything is made of them.
//!
//! Transactions are what one release of ours has made of orders; with the orders, another release can be asked what it
//! would have made. Kept is what makes news, whole: a copy that changes nothing is told by the one before it. Packed with
//! a dictionary (a small order alone has little that repeats itself), then sealed: it tells of people.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};
use zstd::zstd_safe::get_frame_content_size;

use crate::domain::{Configuration, EventId, LocationId, ProviderKind, ShopDay, TenantScope, TransactionId};
use crate::providers::{DICTIONARY, RawOrder, dictionary};
use crate::store::StoreError;
use crate::store::raw_log::{MAX_SEALED, RawLog, RawPlace, SealedOrders};
use crate::vault::{Bodies, DataKey, VaultError, open_under};

/// A step less than where more costs time and saves nothing.
const LEVEL: i32 = 6;
/// What the seal and what is around it take of an item, at most.
const ROOM: usize = 10 * 1000;
/// More than anything that was ever packed here.
const LARGEST: usize = 32 * 1024 * 1024;

/// A copy of an order, and for which transactions of a shop's day it is kept.
#[derive(Debug, Clone)]
pub struct RawRecord {
    /// What the provider had.
    pub order: RawOrder,
    /// Whether the provider has pushed it. Then it was observed at no time, whatever the order says.
    pub is_pushed: bool,
    /// The transactions of the day that it is news of.
    pub of: Vec<TransactionId>,
    /// Those that were of the day until then.
    pub left: Vec<TransactionId>,
}

impl RawRecord {
    /// When we began to read it, if we did.
    pub fn observed_at(&self) -> Option<Timestamp> {
        (!self.is_pushed).then_some(self.order.observed_at)
    }
}

/// A record as it is written. Read by every later release: fields are only ever added.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    of: Vec<TransactionId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<TransactionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    location: Option<LocationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_offline_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observed_at: Option<Timestamp>,
    #[serde(borrow)]
    order: &'a RawValue,
}

/// Why something was not kept, or not found.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key service failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An order that is no JSON. What was normalized is.
    #[error("an order that is no JSON cannot be kept")]
    NoJson(#[source] serde_json::Error),
    /// The packing failed.
    #[error("an order could not be packed")]
    NotPacked(#[source] std::io::Error),
}

/// What was found of a shop's day.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order of their keys, which says nothing.
    pub records: Vec<RawRecord>,
    /// Items that opened to nothing of ours.
    pub unreadable: u64,
}

/// Keeps orders, and finds them again.
pub struct Archive {
    log: RawLog,
    bodies: Arc<Bodies>,
    /// Those that the log is known to have.
    keys: Mutex<HashMap<KeyName, Arc<DataKey>>>,
}

/// What a data key is called: a hash of what it is wrapped to. What is sealed begins with it.
type KeyName = [u8; 8];

/// Every execution environment has a data key of its own every hour, and a shop's day may be under all of them.
const REMEMBERED: usize = 1024;

impl Archive {
    /// In this table, under these seals.
    pub fn new(log: RawLog, bodies: Arc<Bodies>) -> Self {
        Self { log, bodies, keys: Mutex::default() }
    }

    /// Keeps what a message has brought to a shop's day: one write, if it is not far larger than orders are. The same
    /// again writes the same again.
    pub async fn keep(
        &self,
        (scope, configuration): (&TenantScope, &Configuration),
        day: &ShopDay,
        cause: &EventId,
        records: &[RawRecord],
    ) -> Result<(), ArchiveError> {
        let mut parts = vec![records];
        while let Some(part) = parts.pop() {
            let json = written(part)?;
            let packed = pack(configuration.provider, &json).map_err(ArchiveError::NotPacked)?;
            if packed.len() > MAX_SEALED - ROOM {
                match part.len() {
                    // It is stored all the same: a sale that is not is a wrong bake.
                    0 | 1 => {
                        tracing::error!(event.id = %cause, bytes = json.len(), "an order is too large to be kept raw")
                    }
                    more => parts.extend(<[_; 2]>::from(part.split_at(more / 2))),
                }
                continue;
            }
            let place = RawPlace::new(scope, configuration.id, day, cause, &hex(&short_hash(&json)));
            let (name, key) = self.key().await?;
            let sealed = [&name, self.bodies.seal_under(&key, place.parts(), packed)?.as_slice()].concat();
            self.log.put(&place, &SealedOrders { format: DICTIONARY, sealed }).await?;
        }
        Ok(())
    }

    /// All that is kept of a shop's day.
    pub async fn find(
        &self,
        (scope, configuration): (&TenantScope, &Configuration),
        day: &ShopDay,
    ) -> Result<Found, ArchiveError> {
        let (mut found, mut after) = (Found::default(), None);
        loop {
            let page = self.log.list(scope, configuration.id, day, after).await?;
            for (place, orders) in &page.items {
                match self.open(configuration.provider, place, orders).await? {
                    Some(records) => found.records.extend(records),
                    None => {
                        tracing::error!(configuration.id = %configuration.id, entry = place.parts()[1], "raw orders cannot be read");
                        found.unreadable += 1;
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    async fn open(
        &self,
        provider: ProviderKind,
        place: &RawPlace,
        orders: &SealedOrders,
    ) -> Result<Option<Vec<RawRecord>>, ArchiveError> {
        let Some((name, sealed)) = orders.sealed.split_first_chunk() else { return Ok(None) };
        let Some(key) = self.find_key(name).await? else { return Ok(None) };
        let packed = match open_under(&key, place.parts(), sealed) {
            Err(VaultError::NotAuthentic) => return Ok(None),
            packed => packed?,
        };
        Ok(unpack(provider, orders.format, &packed).and_then(|json| read(&json)))
    }

    /// What is sealed with now. The log has it before anything that needs it.
    async fn key(&self) -> Result<(KeyName, Arc<DataKey>), ArchiveError> {
        let key = self.bodies.key().await?;
        let name = short_hash(key.wrapped());
        if self.known(&name).is_none() {
            self.log.put_key(&hex(&name), key.wrapped()).await?;
            self.remember(name, &key);
        }
        Ok((name, key))
    }

    async fn find_key(&self, name: &KeyName) -> Result<Option<Arc<DataKey>>, ArchiveError> {
        if let Some(key) = self.known(name) {
            return Ok(Some(key));
        }
        let Some(wrapped) = self.log.find_key(&hex(name)).await? else { return Ok(None) };
        match self.bodies.unwrap(&wrapped).await {
            Err(VaultError::NotAuthentic) => Ok(None),
            key => {
                let key = key?;
                self.remember(*name, &key);
                Ok(Some(key))
            }
        }
    }

    fn known(&self, name: &KeyName) -> Option<Arc<DataKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn remember(&self, name: KeyName, key: &Arc<DataKey>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= REMEMBERED {
            keys.clear();
        }
        keys.insert(name, Arc::clone(key));
    }
}

fn short_hash(of: &[u8]) -> [u8; 8] {
    Sha256::digest(of).first_chunk().copied().unwrap_or_default()
}

fn hex(hash: &[u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(*hash))
}

/// What is sealed of some orders.
#[cfg(feature = "bench")]
pub fn packed(provider: ProviderKind, records: &[RawRecord]) -> Result<Vec<u8>, ArchiveError> {
    pack(provider, &written(records)?).map_err(ArchiveError::NotPacked)
}

/// The orders that were; `None`: these bytes are none of [`packed`].
#[cfg(feature = "bench")]
pub fn unpacked(provider: ProviderKind, packed: &[u8]) -> Option<Vec<RawRecord>> {
    unpack(provider, DICTIONARY, packed).and_then(|json| read(&json))
}

fn written(records: &[RawRecord]) -> Result<Vec<u8>, ArchiveError> {
    fn entry(record: &RawRecord) -> serde_json::Result<Entry<'_>> {
        Ok(Entry {
            of: record.of.clone(),
            left: record.left.clone(),
            location: record.order.location.clone(),
            paid_offline_at: record.order.paid_offline_at,
            observed_at: record.observed_at(),
            order: serde_json::from_slice(&record.order.body)?,
        })
    }
    let entries: serde_json::Result<Vec<Entry<'_>>> = records.iter().map(entry).collect();
    entries.and_then(|entries| serde_json::to_vec(&entries)).map_err(ArchiveError::NoJson)
}

fn read(json: &[u8]) -> Option<Vec<RawRecord>> {
    let entries: Vec<Entry<'_>> = serde_json::from_slice(json).ok()?;
    let record = |entry: Entry<'_>| RawRecord {
        order: RawOrder {
            body: entry.order.get().as_bytes().to_vec(),
            location: entry.location,
            paid_offline_at: entry.paid_offline_at,
            observed_at: entry.observed_at.unwrap_or(Timestamp::UNIX_EPOCH),
        },
        is_pushed: entry.observed_at.is_none(),
        of: entry.of,
        left: entry.left,
    };
    Some(entries.into_iter().map(record).collect())
}

/// Reading a dictionary costs more than packing an order with it, so it is read once.
struct Prepared {
    packing: EncoderDictionary<'static>,
    unpacking: DecoderDictionary<'static>,
}

fn prepared(provider: ProviderKind, version: u8) -> Option<&'static Prepared> {
    fn of(provider: ProviderKind) -> Prepared {
        let bytes = dictionary(provider, DICTIONARY).unwrap_or_default();
        Prepared { packing: EncoderDictionary::copy(bytes, LEVEL), unpacking: DecoderDictionary::copy(bytes) }
    }
    static SQUARE: LazyLock<Prepared> = LazyLock::new(|| of(ProviderKind::Square));
    static TOAST: LazyLock<Prepared> = LazyLock::new(|| of(ProviderKind::Toast));
    static LIGHTSPEED: LazyLock<Prepared> = LazyLock::new(|| of(ProviderKind::Lightspeed));
    (version == DICTIONARY).then(|| match provider {
        ProviderKind::Square => &*SQUARE,
        ProviderKind::Toast => &*TOAST,
        ProviderKind::Lightspeed => &*LIGHTSPEED,
    })
}

/// Packs what is written in a provider's words.
fn pack(provider: ProviderKind, json: &[u8]) -> std::io::Result<Vec<u8>> {
    match prepared(provider, DICTIONARY) {
        Some(prepared) => Compressor::with_prepared_dictionary(&prepared.packing)?.compress(json),
        None => Err(std::io::Error::other("there is no dictionary")),
    }
}

fn unpack(provider: ProviderKind, version: u8, packed: &[u8]) -> Option<Vec<u8>> {
    let bytes = usize::try_from(get_frame_content_size(packed).ok()??).ok()?;
    let mut unpacking = Decompressor::with_prepared_dictionary(&prepared(provider, version)?.unpacking).ok()?;
    unpacking.decompress(packed, bytes.min(LARGEST)).ok()
}

//! What the tenant calls the things that were sold.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::page::READS_AT_ONCE;
use shared::domain::{ConfigurationId, ProductId, TenantScope, Transaction};
use shared::store::StoreError;
use shared::store::product_mappings::ProductMappings;

/// How long an execution environment may go by an outdated word: a till sells the same things all day, and each reading
/// costs a sale some milliseconds.
const FRESH_FOR: Duration = Duration::from_secs(30);
/// Things that are remembered; then all are forgotten.
const MOST: usize = 20_000;

/// What an item is, and when that was read.
type Known = (Option<ProductId>, Instant);

/// What things are, as far as it is known.
pub struct Products {
    mappings: ProductMappings,
    known: Mutex<HashMap<(ConfigurationId, String), Known>>,
}

impl Products {
    /// Knows nothing yet.
    pub fn new(mappings: ProductMappings) -> Self {
        Self { mappings, known: Mutex::default() }
    }

    /// Where the words are kept.
    pub fn mappings(&self) -> &ProductMappings {
        &self.mappings
    }

    /// Gives the lines of new copies the products that they are mapped to.
    pub async fn assign<'t>(
        &self,
        scope: &TenantScope,
        configuration: ConfigurationId,
        transactions: impl IntoIterator<Item = &'t mut Transaction>,
    ) -> Result<(), StoreError> {
        let mut transactions: Vec<&mut Transaction> = transactions.into_iter().collect();
        let (mut products, mut unknown) = (HashMap::new(), BTreeSet::new());
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for id in transactions.iter().flat_map(|transaction| transaction.item_ids()) {
                match known.get(&(configuration, id.to_owned())) {
                    Some((product, at)) if at.elapsed() < FRESH_FOR => {
                        products.insert(id.to_owned(), product.clone());
                    }
                    _ => {
                        unknown.insert(id.to_owned());
                    }
                }
            }
        }
        let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
        for ids in unknown.chunks(READS_AT_ONCE) {
            let mut read = self.mappings.find(scope, configuration, ids).await?;
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST {
                known.clear();
            }
            for id in ids {
                let product = read.remove(*id).and_then(|row| row.mapped).map(|mapped| mapped.product_id);
                known.insert((configuration, (*id).to_owned()), (product.clone(), Instant::now()));
                products.insert((*id).to_owned(), product);
            }
        }
        for transaction in &mut transactions {
            transaction.assign_products(|id| products.get(id).cloned().flatten());
        }
        Ok(())
    }
}

//! What a merchant sells, as the till knows it.

/// Something that can be sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogItem {
    /// The `item_id` of the lines that sell it.
    pub item_id: String,
    /// As the till shows it.
    pub name: String,
    /// The merchant's own number.
    pub sku: Option<String>,
    /// The group it is in.
    pub category: Option<String>,
}

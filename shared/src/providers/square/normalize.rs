//! From a Square order to transactions.
//!
//! An order with lines is a sale. An order with `returns` is a refund, and one with both (an exchange) is both. We take
//! Square's amounts as they are and check them against each other; we never calculate what Square has said.

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::wire::{self, Order};
use crate::domain::{
    Amounts, Configuration, Currency, Discount, ExternalOrderId, LineItem, LineItemKind, Location, LocationId, Minor,
    Modifier, MoneyError, Payment, ProviderKind, Quantity, ServiceCharge, SourceVersion, Tax, Tender, Transaction,
    TransactionId, TransactionKind, TransactionStatus,
};
use crate::providers::error::{each, read_json};
use crate::providers::text::{Str, kept, kept_or_empty};
use crate::providers::{PayloadError, PayloadProblem, RawOrder};

/// Where Square takes an inclusive tax out of `gross_sales_money` (the United States, Canada, Japan); elsewhere it
/// stays inside (api.json, OrderLineItem.gross_sales_money). The currency stands for the country.
const INCLUDED_TAX_OUTSIDE_GROSS: [&str; 3] = ["USD", "CAD", "JPY"];

pub(super) fn transactions(raw: &RawOrder, configuration: &Configuration) -> Result<Vec<Transaction>, PayloadError> {
    let order: Order = read_json(&raw.body)?;
    let status = match order.state.as_deref() {
        Some("COMPLETED") => TransactionStatus::Completed,
        Some("OPEN") => TransactionStatus::Open,
        Some("CANCELED") => TransactionStatus::Voided,
        // Not yet an order to anybody but its author.
        Some("DRAFT") => return Ok(Vec::new()),
        Some(_) => return Err(PayloadError::new("state", PayloadProblem::Invalid)),
        None => return Err(missing("state")),
    };
    let context = Context::new(&order, raw.paid_offline_at, configuration)?;
    let mut transactions = Vec::with_capacity(1);
    if order.returns.is_empty() || !order.line_items.is_empty() {
        transactions.push(context.sale(status)?);
    }
    if !order.returns.is_empty() {
        transactions.push(context.refund(status)?);
    }
    if let [sale, refund] = transactions.as_mut_slice() {
        set_off(sale, refund)?;
    }
    Ok(transactions)
}

/// Whatever else is wrong with it.
pub(super) fn order_id(body: &[u8]) -> Option<ExternalOrderId> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    ExternalOrderId::new(read_json::<Named>(body).ok()?.id).ok()
}

/// In an exchange, what was brought back pays for what was taken, as far as it was not paid out.
fn set_off(sale: &mut Transaction, refund: &mut Transaction) -> Result<(), PayloadError> {
    let paid_out = sum(refund.payments.iter().map(|payment| payment.amount), "refunds")?;
    let credit = refund.amounts.total.checked_sub(paid_out).map_err(|MoneyError| out_of_range("refunds"))?;
    if credit > Minor::ZERO {
        let id = sale.external_order_id.to_string();
        let payment = Payment { id, tender: Tender::Exchange, amount: credit, tip: Minor::ZERO };
        for transaction in [sale, refund] {
            transaction.payments.push(payment.clone());
            transaction.check_amounts().map_err(|MoneyError| out_of_range("total_money"))?;
        }
    }
    Ok(())
}

/// Orders made through the API count versions; those of a till have only the time of their last change.
fn source_version(order: &Order<'_>) -> SourceVersion {
    let changed_at = || order.updated_at.unwrap_or(order.created_at).as_microsecond();
    SourceVersion(order.version.unwrap_or_else(changed_at))
}

struct Context<'a> {
    order: &'a Order<'a>,
    configuration: &'a Configuration,
    location: &'a Location,
    currency: Currency,
    id: ExternalOrderId,
    paid_offline_at: Option<Timestamp>,
}

impl<'a> Context<'a> {
    fn new(
        order: &'a Order<'a>,
        paid_offline_at: Option<Timestamp>,
        configuration: &'a Configuration,
    ) -> Result<Self, PayloadError> {
        let location = LocationId::new(&*order.location_id)
            .ok()
            .and_then(|id| configuration.location(&id))
            .ok_or_else(|| PayloadError::new("location_id", PayloadProblem::UnknownLocation))?;
        let currency = match order.total_money.as_ref().and_then(|money| money.currency.as_deref()) {
            Some(code) => code.parse().map_err(|_| invalid("total_money.currency"))?,
            None => location.currency,
        };
        let id = ExternalOrderId::new(&*order.id).map_err(|_| invalid("id"))?;
        Ok(Self { order, configuration, location, currency, id, paid_offline_at })
    }

    fn sale(&self, status: TransactionStatus) -> Result<Transaction, PayloadError> {
        let order = self.order;
        let line_items = each("line_items", &order.line_items, |index, line| self.line(index, line))?;
        let taxes = each("taxes", &order.taxes, |_, tax| self.tax(tax))?;
        let of_lines = |part: fn(&LineItem) -> Minor| sum(line_items.iter().map(part), "line_items");
        let amounts = Amounts {
            gross: of_lines(|line| line.gross)?,
            discount: self.money_or(&order.total_discount_money, "total_discount_money", of_lines(|l| l.discount)?)?,
            tax: self.money_or(&order.total_tax_money, "total_tax_money", of_lines(|l| l.tax)?)?,
            tax_included: self.included(&taxes)?,
            service_charge: self.money_or(
                &order.total_service_charge_money,
                "total_service_charge_money",
                Minor::ZERO,
            )?,
            tip: self.money_or(&order.total_tip_money, "total_tip_money", Minor::ZERO)?,
            rounding: self.rounding(order.rounding_adjustment.as_ref())?,
            total: self.required(&order.total_money, "total_money")?,
        };
        self.transaction(Parts {
            kind: TransactionKind::Sale,
            status,
            original_order_id: None,
            amounts,
            line_items,
            discounts: each("discounts", &order.discounts, |_, discount| self.discount(discount))?,
            taxes,
            service_charges: each("service_charges", &order.service_charges, |_, charge| self.service_charge(charge))?,
            payments: each("tenders", &order.tenders, |_, tender| self.payment(tender))?,
        })
    }

    fn refund(&self, status: TransactionStatus) -> Result<Transaction, PayloadError> {
        let order = self.order;
        let mut parts = Parts {
            kind: TransactionKind::Refund,
            status,
            original_order_id: None,
            amounts: Amounts::default(),
            line_items: Vec::new(),
            discounts: Vec::new(),
            taxes: Vec::new(),
            service_charges: Vec::new(),
            payments: Vec::new(),
        };
        each("returns", &order.returns, |_, returned| self.take_back(returned, &mut parts))?;
        let returned = match (&order.return_amounts, order.returns.as_slice()) {
            (Some(amounts), _) => amounts,
            (None, [only]) => only.return_amounts.as_ref().ok_or_else(|| missing("return_amounts"))?,
            (None, _) => return Err(missing("return_amounts")),
        };
        let amounts = &mut parts.amounts;
        amounts.gross = sum(parts.line_items.iter().map(|line| line.gross), "returns")?;
        amounts.total = self.required(&returned.total_money, "return_amounts.total_money")?;
        for (amount, money, path) in [
            (&mut amounts.discount, &returned.discount_money, "return_amounts.discount_money"),
            (&mut amounts.tax, &returned.tax_money, "return_amounts.tax_money"),
            (&mut amounts.tip, &returned.tip_money, "return_amounts.tip_money"),
            (&mut amounts.service_charge, &returned.service_charge_money, "return_amounts.service_charge_money"),
        ] {
            *amount = self.money_or(money, path, Minor::ZERO)?;
        }
        amounts.tax_included = self.included(&parts.taxes)?;
        self.pay_back(&mut parts)?;
        self.transaction(parts)
    }

    fn take_back(&self, returned: &wire::Return<'_>, parts: &mut Parts) -> Result<(), PayloadError> {
        if let Some(id) = &returned.source_order_id {
            let id = ExternalOrderId::new(&**id).map_err(|_| invalid("source_order_id"))?;
            parts.original_order_id.get_or_insert(id);
        }
        let lines = each("return_line_items", &returned.return_line_items, |index, line| self.line(index, line))?;
        parts.line_items.extend(lines);
        parts.discounts.extend(each("return_discounts", &returned.return_discounts, |_, d| self.discount(d))?);
        parts.taxes.extend(each("return_taxes", &returned.return_taxes, |_, tax| self.tax(tax))?);
        let charges = &returned.return_service_charges;
        parts.service_charges.extend(each("return_service_charges", charges, |_, c| self.service_charge(c))?);
        let rounding = self.rounding(returned.rounding_adjustment.as_ref())?;
        parts.amounts.rounding = sum([parts.amounts.rounding, rounding], "rounding_adjustment")?;
        Ok(())
    }

    /// The refunds of the order are its payments, but for those that the bank refused. Where it refused all, no money
    /// moved.
    fn pay_back(&self, parts: &mut Parts) -> Result<(), PayloadError> {
        let payments = each("refunds", &self.order.refunds, |_, refund| {
            let is_refused = matches!(refund.status.as_deref(), Some("REJECTED" | "FAILED"));
            if is_refused { Ok(None) } else { self.payment_back(refund).map(Some) }
        })?;
        parts.payments = payments.into_iter().flatten().collect();
        if parts.payments.is_empty() && !self.order.refunds.is_empty() {
            parts.status = TransactionStatus::Voided;
        }
        Ok(())
    }

    fn payment_back(&self, refund: &wire::Refund<'_>) -> Result<Payment, PayloadError> {
        Ok(Payment {
            id: refund.id.to_string(),
            tender: refund.tender_id.as_ref().and_then(|id| self.tender_of(id)).unwrap_or(Tender::Other),
            amount: self.required(&refund.amount_money, "amount_money")?,
            tip: Minor::ZERO,
        })
    }

    fn tender_of(&self, id: &str) -> Option<Tender> {
        self.order.tenders.iter().find(|tender| tender.id.as_deref() == Some(id)).map(tender)
    }

    fn transaction(&self, parts: Parts) -> Result<Transaction, PayloadError> {
        let order = self.order;
        let occurred_at = self.paid_offline_at.or(order.closed_at).unwrap_or(order.created_at);
        let mut transaction = Transaction {
            id: TransactionId::derive(order.created_at, self.configuration.id, &self.id, parts.kind),
            provider: ProviderKind::Square,
            configuration_id: self.configuration.id,
            kind: parts.kind,
            status: parts.status,
            external_order_id: self.id.clone(),
            original_order_id: parts.original_order_id,
            source_version: source_version(order),
            location_id: self.location.id.clone(),
            channel: order.source.as_ref().and_then(|source| kept(&source.name)),
            created_at: order.created_at,
            occurred_at,
            business_date: self.location.business_date(occurred_at),
            currency: self.currency,
            amounts: parts.amounts,
            line_items: parts.line_items,
            discounts: parts.discounts,
            taxes: parts.taxes,
            service_charges: parts.service_charges,
            payments: parts.payments,
            discrepancies: Vec::new(),
        };
        transaction.check_amounts().map_err(|MoneyError| out_of_range("total_money"))?;
        Ok(transaction)
    }

    fn line(&self, index: usize, line: &wire::Line<'_>) -> Result<LineItem, PayloadError> {
        let quantity = quantity(&line.quantity)?;
        let unit_price = self.money(&line.base_price_money, "base_price_money")?;
        let gross = match self.money(&line.gross_sales_money, "gross_sales_money")? {
            Some(gross) => gross,
            None => unit_price
                .and_then(|price| price_rounded_half_even(price, quantity))
                .ok_or_else(|| missing("gross_sales_money"))?,
        };
        let discount = self.money_or(&line.total_discount_money, "total_discount_money", Minor::ZERO)?;
        Ok(LineItem {
            id: line.uid.as_deref().map_or_else(|| index.to_string(), str::to_owned),
            kind: match line.item_type.as_deref() {
                Some("CUSTOM_AMOUNT") => LineItemKind::CustomAmount,
                Some("GIFT_CARD") => LineItemKind::GiftCard,
                _ => LineItemKind::Item,
            },
            name: display_name(line.name.as_deref(), line.variation_name.as_deref()),
            item_id: kept(&line.catalog_object_id),
            product_id: None,
            quantity,
            unit: line.quantity_unit.as_ref().and_then(unit_name),
            unit_price,
            gross,
            discount,
            tax: self.money_or(&line.total_tax_money, "total_tax_money", Minor::ZERO)?,
            total: match self.money(&line.total_money, "total_money")? {
                Some(total) => total,
                None => gross.checked_sub(discount).map_err(|MoneyError| out_of_range("total_money"))?,
            },
            modifiers: each("modifiers", &line.modifiers, |_, modifier| self.modifier(modifier))?,
        })
    }

    fn modifier(&self, modifier: &wire::Modifier<'_>) -> Result<Modifier, PayloadError> {
        Ok(Modifier {
            name: kept_or_empty(&modifier.name),
            item_id: kept(&modifier.catalog_object_id),
            quantity: modifier.quantity.as_ref().map_or(Ok(Quantity::ONE), quantity)?,
            total: self.money_or(&modifier.total_price_money, "total_price_money", Minor::ZERO)?,
        })
    }

    fn discount(&self, discount: &wire::Discount<'_>) -> Result<Discount, PayloadError> {
        let amount = self.money_or(&discount.applied_money, "applied_money", Minor::ZERO)?;
        Ok(Discount { name: kept_or_empty(&discount.name), amount })
    }

    fn tax(&self, tax: &wire::Tax<'_>) -> Result<Tax, PayloadError> {
        let percentage = tax.percentage.as_deref().map(str::parse).transpose();
        Ok(Tax {
            name: kept_or_empty(&tax.name),
            rate_percent: percentage.map_err(|_| invalid("percentage"))?,
            included: tax.tax_type.as_deref() == Some("INCLUSIVE"),
            amount: self.money_or(&tax.applied_money, "applied_money", Minor::ZERO)?,
        })
    }

    fn service_charge(&self, charge: &wire::ServiceCharge<'_>) -> Result<ServiceCharge, PayloadError> {
        let amount = self.money_or(&charge.applied_money, "applied_money", Minor::ZERO)?;
        let gratuity = charge.charge_type.as_deref() == Some("AUTO_GRATUITY");
        Ok(ServiceCharge { name: kept_or_empty(&charge.name), gratuity, amount })
    }

    fn payment(&self, wire: &wire::Tender<'_>) -> Result<Payment, PayloadError> {
        Ok(Payment {
            id: kept(&wire.payment_id).or_else(|| kept(&wire.id)).ok_or_else(|| missing("id"))?,
            tender: tender(wire),
            amount: self.required(&wire.amount_money, "amount_money")?,
            tip: self.money_or(&wire.tip_money, "tip_money", Minor::ZERO)?,
        })
    }

    fn rounding(&self, adjustment: Option<&wire::RoundingAdjustment<'_>>) -> Result<Minor, PayloadError> {
        let Some(adjustment) = adjustment else { return Ok(Minor::ZERO) };
        self.money_or(&adjustment.amount_money, "rounding_adjustment.amount_money", Minor::ZERO)
    }

    /// The part of the tax that stands inside the gross amounts.
    fn included(&self, taxes: &[Tax]) -> Result<Minor, PayloadError> {
        if INCLUDED_TAX_OUTSIDE_GROSS.contains(&self.currency.code()) {
            return Ok(Minor::ZERO);
        }
        sum(taxes.iter().filter(|tax| tax.included).map(|tax| tax.amount), "taxes")
    }

    /// An amount, if it is there; in the order's currency, or refused.
    fn money(&self, money: &Option<wire::Money<'_>>, path: &str) -> Result<Option<Minor>, PayloadError> {
        let Some(money) = money else { return Ok(None) };
        if money.currency.as_deref().is_some_and(|code| code != self.currency.code()) {
            return Err(PayloadError::new(path, PayloadProblem::MixedCurrencies));
        }
        Ok(money.amount.map(Minor))
    }

    fn money_or(&self, money: &Option<wire::Money<'_>>, path: &str, otherwise: Minor) -> Result<Minor, PayloadError> {
        Ok(self.money(money, path)?.unwrap_or(otherwise))
    }

    fn required(&self, money: &Option<wire::Money<'_>>, path: &str) -> Result<Minor, PayloadError> {
        self.money(money, path)?.ok_or_else(|| missing(path))
    }
}

/// What a sale and a refund differ in.
struct Parts {
    kind: TransactionKind,
    status: TransactionStatus,
    original_order_id: Option<ExternalOrderId>,
    amounts: Amounts,
    line_items: Vec<LineItem>,
    discounts: Vec<Discount>,
    taxes: Vec<Tax>,
    service_charges: Vec<ServiceCharge>,
    payments: Vec<Payment>,
}

/// The item, and which variation of it where that says more.
pub(super) fn display_name(name: Option<&str>, variation: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    match variation {
        Some(variation) if !variation.is_empty() && variation != name => format!("{name} ({variation})"),
        _ => name.to_owned(),
    }
}

fn quantity(text: &Str<'_>) -> Result<Quantity, PayloadError> {
    text.parse().map_err(|_| invalid("quantity"))
}

fn unit_name(unit: &wire::QuantityUnit<'_>) -> Option<String> {
    let unit = unit.measurement_unit.as_ref()?;
    let standard =
        [&unit.weight_unit, &unit.volume_unit, &unit.length_unit, &unit.area_unit, &unit.time_unit, &unit.generic_unit];
    let custom = unit.custom_unit.as_ref().and_then(|custom| kept(&custom.name));
    custom.or_else(|| standard.into_iter().find_map(kept))
}

fn tender(tender: &wire::Tender<'_>) -> Tender {
    match tender.tender_type.as_deref() {
        Some("CARD" | "THIRD_PARTY_CARD") => Tender::Card,
        Some("CASH") => Tender::Cash,
        Some("SQUARE_GIFT_CARD") => Tender::GiftCard,
        Some("WALLET") => Tender::Wallet,
        Some("BANK_ACCOUNT") => Tender::BankTransfer,
        Some("BUY_NOW_PAY_LATER") => Tender::BuyNowPayLater,
        // Square adds words to this list; a new one is no reason to lose a sale.
        _ => Tender::Other,
    }
}

/// The price of a line that does not say its own: old and sparse orders.
fn price_rounded_half_even(price: Minor, quantity: Quantity) -> Option<Minor> {
    let exact = Decimal::from(price.0).checked_mul(quantity.value())?;
    i64::try_from(exact.round_dp(0).mantissa()).ok().map(Minor)
}

fn sum(amounts: impl IntoIterator<Item = Minor>, path: &str) -> Result<Minor, PayloadError> {
    Minor::sum(amounts).map_err(|MoneyError| out_of_range(path))
}

fn missing(path: impl Into<String>) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Missing)
}

fn invalid(path: impl Into<String>) -> PayloadError {
    PayloadError::new(path, PayloadProblem::Invalid)
}

fn out_of_range(path: &str) -> PayloadError {
    PayloadError::new(path, PayloadProblem::AmountOutOfRange)
}

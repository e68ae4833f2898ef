//! The bakeries: who they are, where their shops stand and what they sell.
//!
//! Twelve shops exist because a provider's search takes ten locations at most
//! and a client that forgets this should be found out. The zones include one
//! without daylight saving time and one far to the west.

use crate::seed::Seed;

/// A shop before it has an id at a provider.
#[derive(Debug)]
pub struct ShopPlan {
    pub name: &'static str,
    pub street: &'static str,
    pub city: &'static str,
    pub state: &'static str,
    pub postal_code: &'static str,
    pub time_zone: &'static str,
    pub country: &'static str,
    pub currency: &'static str,
    /// The hour at which a new business day begins, where the provider knows such a thing.
    pub day_starts: u8,
    /// In hundredths of a percent.
    pub state_tax: i64,
    pub city_tax: i64,
}

#[derive(Debug)]
pub struct Product {
    pub name: &'static str,
    pub variation: &'static str,
    pub price_minor: i64,
    /// Bread is food and untaxed in most states; what is eaten at once is not.
    pub taxed: bool,
    pub by_weight: bool,
}

#[derive(Debug)]
pub struct ExtraPlan {
    pub name: &'static str,
    pub price_minor: i64,
}

pub const BUSINESSES: [&str; 3] = ["Maple & Rye Bakery", "Harbor Street Bakehouse", "Blue Door Patisserie"];

/// So many sell with each provider at most.
pub const MOST_BUSINESSES: usize = 50;

const FIRST_NAMES: [&str; 10] =
    ["Copper", "Morning", "Old Mill", "River", "Lantern", "Clover", "Granite", "Juniper", "Orchard", "Stone"];
const LAST_NAMES: [&str; 5] = ["Bakery", "Bread Co.", "Oven", "Loaf House", "Patisserie"];

/// The three above, and others that the seed puts in an order.
pub fn business_names(seed: Seed, count: usize) -> Vec<String> {
    let mut draws = seed.draws("businesses");
    let all = FIRST_NAMES.iter().flat_map(|first| LAST_NAMES.map(|last| format!("{first} {last}")));
    let mut left: Vec<String> = all.collect();
    let others = std::iter::from_fn(|| (!left.is_empty()).then(|| left.swap_remove(draws.index(left.len()))));
    BUSINESSES.iter().map(|name| (*name).to_owned()).chain(others).take(count).collect()
}

#[rustfmt::skip]
pub const SHOPS: [ShopPlan; 12] = [
    shop("Beacon Hill",     "12 Charles St",       "Boston",       "MA", "02114", "America/New_York",    625,  75),
    shop("Lincoln Park",    "2210 N Halsted St",   "Chicago",      "IL", "60614", "America/Chicago",     625, 225),
    shop("Mission",         "3299 24th St",        "San Francisco","CA", "94110", "America/Los_Angeles", 725, 138),
    shop("Roosevelt Row",   "901 N 5th St",        "Phoenix",      "AZ", "85004", "America/Phoenix",     560, 230),
    shop("RiNo",            "2669 Larimer St",     "Denver",       "CO", "80205", "America/Denver",      290, 481),
    shop("Kakaako",         "685 Auahi St",        "Honolulu",     "HI", "96813", "Pacific/Honolulu",    400,  50),
    shop("Fells Point",     "1641 Thames St",      "Baltimore",    "MD", "21231", "America/New_York",    600,   0),
    shop("Ballard",         "5333 Ballard Ave NW", "Seattle",      "WA", "98107", "America/Los_Angeles", 650, 385),
    shop("South Congress",  "1400 S Congress Ave", "Austin",       "TX", "78704", "America/Chicago",     625, 200),
    shop("Old Town",        "120 S Fairfax St",    "Alexandria",   "VA", "22314", "America/New_York",    430, 170),
    shop("Midtown",         "1234 Peachtree St NE","Atlanta",      "GA", "30309", "America/New_York",    400, 490),
    shop("Downtown",        "431 W 5th Ave",       "Anchorage",    "AK", "99501", "America/Anchorage",     0,   0),
];

/// Square's shops in other countries, where prices include tax and a yen has no cents.
#[rustfmt::skip]
pub const SQUARE_ABROAD: [ShopPlan; 3] = [
    shop("Nakameguro",      "1-20-2 Aobadai",      "Tokyo",        "",   "153-0042", "Asia/Tokyo",     1000, 800).abroad("JP", "JPY"),
    shop("Shoreditch",      "41 Redchurch St",     "London",       "",   "E2 7DJ", "Europe/London",    2000,   0).abroad("GB", "GBP"),
    shop("Ranelagh",        "12 Sandford Rd",      "Dublin",       "",   "D06",   "Europe/Dublin",     1350,   0).abroad("IE", "EUR"),
];

/// Toast sells in America and a little beyond; two of its shops put tax into their prices.
#[rustfmt::skip]
pub const TOAST_SHOPS: [ShopPlan; 6] = [
    shop("Fenway",          "401 Park Drive",      "Boston",       "MA", "02215", "America/New_York",    625,  75).day_starts(4),
    shop("Highland",        "3425 W 32nd Ave",     "Denver",       "CO", "80211", "America/Denver",      290, 481).day_starts(3),
    shop("Stoneybatter",    "12 Manor St",         "Dublin",       "D",  "D07",   "Europe/Dublin",      1350,   0).abroad("IE", "EUR").day_starts(5),
    shop("Borough",         "8 Stoney St",         "London",       "",   "SE1",   "Europe/London",      2000,   0).abroad("GB", "GBP").day_starts(4),
    shop("Arts District",   "827 Mateo St",        "Los Angeles",  "CA", "90021", "America/Los_Angeles", 725, 225).day_starts(6),
    shop("Arcadia",         "4015 E Campbell Ave", "Phoenix",      "AZ", "85018", "America/Phoenix",     560, 230).day_starts(0),
];

/// A business of Lightspeed has one currency, and its shops are in one country.
#[rustfmt::skip]
pub const LIGHTSPEED_SHOPS: [[ShopPlan; 3]; 3] = [
    [
        shop("Marais",      "31 Rue de Bretagne",  "Paris",        "",   "75003", "Europe/Paris",       1000, 550).abroad("FR", "EUR").day_starts(3),
        shop("Croix-Rousse","4 Rue du Mail",       "Lyon",         "",   "69004", "Europe/Paris",       1000, 550).abroad("FR", "EUR").day_starts(3),
        shop("Saint-Denis", "60 Rue de Paris",     "Saint-Denis",  "",   "97400", "Indian/Reunion",      210, 210).abroad("FR", "EUR").day_starts(4),
    ],
    [
        shop("Bermondsey",  "2 Druid St",          "London",       "",   "SE1",   "Europe/London",      2000,   0).abroad("GB", "GBP").day_starts(5),
        shop("Ancoats",     "5 Cutting Room Sq",   "Manchester",   "",   "M4",    "Europe/London",      2000,   0).abroad("GB", "GBP").day_starts(5),
        shop("Leith",       "77 The Shore",        "Edinburgh",    "",   "EH6",   "Europe/London",      2000,   0).abroad("GB", "GBP").day_starts(5),
    ],
    [
        shop("Williamsburg","190 Bedford Ave",     "New York",     "NY", "11249", "America/New_York",    400, 450).day_starts(4),
        shop("Wicker Park", "1520 N Damen Ave",    "Chicago",      "IL", "60622", "America/Chicago",     625, 225).day_starts(4),
        shop("Montrose",    "1424 Westheimer Rd",  "Houston",      "TX", "77006", "America/Chicago",     625, 200).day_starts(4),
    ],
];

#[rustfmt::skip]
pub const PRODUCTS: [Product; 14] = [
    product("Croissant",          "Plain",       375, true,  false),
    product("Croissant",          "Chocolate",   450, true,  false),
    product("Cinnamon roll",      "Regular",     495, true,  false),
    product("Blueberry muffin",   "Regular",     365, true,  false),
    product("Cookie",             "Oatmeal",     250, true,  false),
    product("Coffee",             "Small",       299, true,  false),
    product("Coffee",             "Large",       379, true,  false),
    product("Sourdough loaf",     "Whole",       850, false, false),
    product("Sourdough loaf",     "By weight",   640, false, true),
    product("Baguette",           "Regular",     349, false, false),
    product("Rye bread",          "By weight",   575, false, true),
    product("Brioche",            "Loaf",        925, false, false),
    product("Bagel",              "Everything",  189, false, false),
    product("Cheese focaccia",    "By weight",  1199, true,  true),
];

#[rustfmt::skip]
pub const EXTRAS: [ExtraPlan; 4] = [
    ExtraPlan { name: "Almond filling", price_minor: 50 },
    ExtraPlan { name: "Butter and jam", price_minor: 125 },
    ExtraPlan { name: "Sliced",         price_minor: 0 },
    ExtraPlan { name: "Toasted",        price_minor: 0 },
];

#[expect(clippy::too_many_arguments, reason = "a row of the table above")]
const fn shop(
    name: &'static str,
    street: &'static str,
    city: &'static str,
    state: &'static str,
    postal_code: &'static str,
    time_zone: &'static str,
    state_tax: i64,
    city_tax: i64,
) -> ShopPlan {
    let (country, currency, day_starts) = ("US", "USD", 0);
    ShopPlan { name, street, city, state, postal_code, time_zone, country, currency, day_starts, state_tax, city_tax }
}

impl ShopPlan {
    /// Whether prices include tax; then the two rates are those of what is
    /// eaten at once and of bread.
    pub fn tax_included(&self) -> bool {
        self.country != "US"
    }

    /// The rate of a product, in hundredths of a percent.
    pub fn rate(&self, taxed: bool) -> i64 {
        match (self.tax_included(), taxed) {
            (true, true) => self.state_tax,
            (true, false) => self.city_tax,
            (false, true) => self.state_tax + self.city_tax,
            (false, false) => 0,
        }
    }

    const fn abroad(self, country: &'static str, currency: &'static str) -> Self {
        Self { country, currency, ..self }
    }

    const fn day_starts(self, hour: u8) -> Self {
        Self { day_starts: hour, ..self }
    }
}

const fn product(
    name: &'static str,
    variation: &'static str,
    price_minor: i64,
    taxed: bool,
    by_weight: bool,
) -> Product {
    Product { name, variation, price_minor, taxed, by_weight }
}

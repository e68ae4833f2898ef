//! Mappings that are sent together, as JSON or as a spreadsheet writes them. All of them are good, or none is taken.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_TYPE, LOCATION};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use shared::domain::{Import, JobId, ProductId};
use shared::problem::{FieldError, Problem};
use shared::queue::intake::Job;
use shared::rest::{Answer, Call, unavailable};
use shared::store::product_mappings::{MAX_ITEM_ID, MappingChange, is_item_id};

use super::{configuration_id, start};
use crate::App;
use crate::table::as_written;

/// Lambda takes 6 MB, as JSON inside of JSON.
pub(super) const MAX_BODY: usize = 4 * 1024 * 1024;
/// More than a chain sells.
const MAX_ROWS: usize = 50_000;
/// Mappings that are kept, and later written, together.
const PART: usize = 1000;
/// Parts that are kept at once.
const WRITES_AT_ONCE: usize = 8;

/// What was read of a body.
#[derive(Debug, Default)]
struct Rows {
    changes: Vec<MappingChange>,
    errors: Vec<FieldError>,
    /// Where each item stood.
    places: HashMap<String, String>,
}

/// A mapping as JSON has it.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MappingBody {
    /// The till's id of the item.
    pub item_id: String,
    /// The tenant's own id of the product; null: none.
    pub product_id: Option<String>,
}

/// What is sent as JSON.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(rename = "Mappings")]
#[expect(dead_code, reason = "only its shape is wanted")]
pub struct MappingsBody {
    #[schemars(length(max = MAX_ROWS))]
    mappings: Vec<MappingBody>,
}

/// Takes mappings to be written: the answer says where to see how far they are.
pub async fn begin(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let rows = read(call)?;
    let logs = &app.sync_logs;
    let (job, parts) = (JobId::generate(), rows.chunks(PART).count());
    let import = Import {
        id: job,
        by: call.subject.clone(),
        at: Timestamp::now(),
        rows: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        rows_done: 0,
        changed: 0,
        parts: u32::try_from(parts).unwrap_or(u32::MAX),
        parts_done: 0,
    };
    let mut writes = Vec::with_capacity(parts);
    for (part, number) in rows.chunks(PART).zip(0..) {
        writes.push(logs.put_import_part(&call.scope, id, (job, number), part));
    }
    let written: Result<Vec<()>, _> = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await;
    written.map_err(|error| unavailable(&error))?;
    logs.save_import(&call.scope, id, &import, None).await.map_err(|error| unavailable(&error))?;
    start(app, call, id, Job::Import(job)).await?;
    let location = format!("{}/imports/{job}", call.path());
    Ok(Answer::json(StatusCode::ACCEPTED, &import)?.header(LOCATION, location))
}

/// Shows how far an import is.
pub async fn get(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = configuration_id(app, call).await?;
    let job: JobId = call.path_id("import_id", "import")?;
    let found = app.sync_logs.find_import(&call.scope, id, job).await.map_err(|error| unavailable(&error))?;
    Answer::json(StatusCode::OK, &found.ok_or_else(|| Problem::not_found("import"))?.job)
}

fn read(call: &Call) -> Result<Vec<MappingChange>, Problem> {
    let media_type = call.header(CONTENT_TYPE).and_then(|media_type| media_type.split(';').next()).unwrap_or_default();
    let rows = if media_type.trim().eq_ignore_ascii_case("text/csv") {
        if call.body().len() > MAX_BODY {
            return Err(Problem::body_too_large(MAX_BODY));
        }
        read_csv(call.body())
    } else {
        let mut fields = call.fields_of(MAX_BODY)?;
        let mappings = fields.required::<Vec<Value>>("mappings");
        fields.finish()?;
        read_json(mappings.unwrap_or_default())
    };
    if rows.errors.is_empty() { Ok(rows.changes) } else { Err(Problem::invalid_rows(rows.errors)) }
}

impl Rows {
    /// `place`: a JSON Pointer to the row.
    fn add(&mut self, place: String, item_id: &str, product_id: Option<&str>) {
        let mut errors = Vec::new();
        let mut refuse =
            |field: &str, message: String| errors.push(FieldError::new(format!("{place}/{field}"), message));
        if !is_item_id(item_id) {
            refuse("item_id", format!("must be 1 to {MAX_ITEM_ID} plain characters"));
        } else if let Some(other) = self.places.get(item_id) {
            refuse("item_id", format!("stands at {other} already"));
        }
        let product = product_id.map(ProductId::new).transpose();
        if let Err(error) = &product {
            refuse("product_id", error.to_string());
        }
        if errors.is_empty() {
            self.changes.push(MappingChange { item_id: item_id.to_owned(), product_id: product.ok().flatten() });
            self.places.insert(item_id.to_owned(), place);
        }
        self.errors.append(&mut errors);
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.changes.len() >= MAX_ROWS;
        if is_full {
            self.errors.push(FieldError::new("", format!("has more than {MAX_ROWS} rows: divide it")));
        }
        is_full
    }
}

fn read_json(mappings: Vec<Value>) -> Rows {
    let mut rows = Rows::default();
    for (index, mapping) in mappings.into_iter().enumerate() {
        if rows.is_full() {
            break;
        }
        let place = format!("/mappings/{index}");
        match serde_json::from_value::<MappingBody>(mapping) {
            Ok(mapping) => rows.add(place, &mapping.item_id, mapping.product_id.as_deref()),
            Err(error) => rows.errors.push(FieldError::new(place, error)),
        }
    }
    rows
}

/// As spreadsheets write it: with or without a byte order mark, with commas, semicolons or tabs, quoted or not. Columns
/// other than `item_id` and `product_id` are for people. An empty `product_id`: none.
fn read_csv(body: &[u8]) -> Rows {
    let mut rows = Rows::default();
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let body = &with_unix_lines(body)[..];
    let head = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().find(|delimiter| head.contains(delimiter)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).trim(csv::Trim::All).from_reader(body);
    let column = match reader.headers() {
        Ok(headers) => {
            let headers = headers.clone();
            move |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name))
        }
        Err(error) => {
            rows.errors.push(FieldError::new("/lines/1", error));
            return rows;
        }
    };
    let (Some(item), Some(product)) = (column("item_id"), column("product_id")) else {
        rows.errors.push(FieldError::new("/lines/1", "must name the columns `item_id` and `product_id`"));
        return rows;
    };
    for record in reader.records() {
        if rows.is_full() {
            break;
        }
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                let cell = |column: usize| as_written(record.get(column).unwrap_or_default());
                rows.add(format!("/lines/{line}"), cell(item), Some(cell(product)).filter(|id| !id.is_empty()));
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                rows.errors.push(FieldError::new(format!("/lines/{line}"), reason(&error)));
            }
        }
    }
    rows
}

/// The reader counts a `\r\n` to the line after it.
fn with_unix_lines(body: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(body.len());
    let mut rest = body.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte == b'\r' {
            rest.next_if_eq(&b'\n');
        }
        lines.push(if byte == b'\r' { b'\n' } else { byte });
    }
    lines
}

fn reason(error: &csv::Error) -> String {
    if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        return format!("has {len} columns, and the first line has {expected_len}");
    }
    if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) { "is not UTF-8".to_owned() } else { error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(rows: &Rows) -> Vec<(&str, &str)> {
        rows.errors.iter().map(|error| (error.pointer.as_str(), error.message.as_str())).collect()
    }

    fn read_of(rows: &Rows) -> Vec<(&str, Option<&str>)> {
        rows.changes
            .iter()
            .map(|change| (change.item_id.as_str(), change.product_id.as_ref().map(ProductId::as_str)))
            .collect()
    }

    #[test]
    fn a_table_is_read_however_a_spreadsheet_writes_it() {
        let expected = [("A1", Some("croissant")), ("B\"2", None), ("C,3;x", Some("roll"))];
        for table in [
            "item_id,product_id\nA1,croissant\n\"B\"\"2\",\n\"C,3;x\",roll\n",
            "\u{FEFF}item_id,product_id\r\nA1,croissant\r\n\"B\"\"2\",\r\n\"C,3;x\",roll",
            "Name;Product_ID;ITEM_ID\nButter, salted;croissant;A1\nx;;\"B\"\"2\"\n\"two\nlines\"; roll ;\"C,3;x\"\n",
            "item_id\tproduct_id\nA1\tcroissant\n\"B\"\"2\"\t\nC,3;x\troll\n",
        ] {
            let rows = read_csv(table.as_bytes());
            assert_eq!((read_of(&rows), places(&rows)), (expected.to_vec(), vec![]), "{table}");
        }
    }

    #[test]
    fn three_bad_rows_of_fifty_thousand_are_named_with_their_lines() {
        for end_of_line in ["\n", "\r\n", "\r"] {
            three_bad_rows(end_of_line);
        }
    }

    fn three_bad_rows(end_of_line: &str) {
        let mut table = String::from("\u{FEFF}item_id,name,product_id\n");
        for number in 2..=50_001 {
            table.push_str(&match number {
                777 => "item-777,\"Bun, sweet\",two words\n".to_owned(),
                20_000 => "item-2,Twice,bun\n".to_owned(),
                50_001 => "item-50001,No product\n".to_owned(),
                _ => format!("item-{number},\"Bun \"\"{number}\"\"\",p-{number}\n"),
            });
        }
        let rows = read_csv(table.replace('\n', end_of_line).as_bytes());
        assert_eq!(
            places(&rows),
            [
                ("/lines/777/product_id", "a product id is 1 to 128 plain characters"),
                ("/lines/20000/item_id", "stands at /lines/2 already"),
                ("/lines/50001", "has 2 columns, and the first line has 3"),
            ]
        );
    }

    #[test]
    fn what_is_no_table_says_so() {
        let many = format!("item_id,product_id\n{}", (0..=MAX_ROWS).map(|n| format!("i{n},p\n")).collect::<String>());
        for (table, place, message) in [
            ("", "/lines/1", "must name the columns `item_id` and `product_id`"),
            ("item,product_id\na,b\n", "/lines/1", "must name the columns `item_id` and `product_id`"),
            ("item_id,product_id\n,b\n", "/lines/2/item_id", "must be 1 to 1024 plain characters"),
            (many.as_str(), "", "has more than 50000 rows: divide it"),
        ] {
            assert_eq!(places(&read_csv(table.as_bytes())), [(place, message)]);
        }
        assert_eq!(places(&read_csv(b"item_id,product_id\n\xFF,b\nc,d\n")), [("/lines/2", "is not UTF-8")]);
    }

    #[test]
    fn of_json_every_wrong_entry_is_named() {
        let mappings = serde_json::json!([
            { "item_id": "a", "product_id": "p" }, { "item_id": "b", "product_id": null }, { "item": "c" },
            { "item_id": "a", "product_id": "q" }, 7,
        ]);
        let rows = read_json(mappings.as_array().cloned().unwrap());
        assert_eq!(read_of(&rows), [("a", Some("p")), ("b", None)]);
        let found: Vec<&str> = rows.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(found, ["/mappings/2", "/mappings/3/item_id", "/mappings/4"]);
    }
}

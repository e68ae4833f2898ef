//! Lines of tables that spreadsheets open.

use shared::problem::Problem;

/// With what a formula begins.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// A line of a table, quoted where it must be.
pub(crate) fn record(cells: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<String, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| {
        tracing::error!(error = %error, "a table could not be written");
        Problem::internal()
    })?;
    let line = writer.into_inner().map_err(|_| Problem::internal())?;
    String::from_utf8(line).map_err(|_| Problem::internal())
}

/// A cell that begins like a formula would be calculated by a spreadsheet:
/// <https://owasp.org/www-community/attacks/CSV_Injection>.
pub(crate) fn harmless(cell: &str) -> String {
    if is_formula(cell) { format!("'{cell}") } else { cell.to_owned() }
}

/// What a cell said before it was made harmless.
pub(crate) fn as_written(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

/// One that was made harmless before is told from one that begins so by itself, whatever the number of marks.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_goes_out_harmless_and_comes_back_as_it_was() {
        for cell in ["=1+1", "@SUM(A1)", "+49", "plain", "'quoted", "'=1", "''-2", "-1", ""] {
            assert_eq!(as_written(&harmless(cell)), cell);
            assert!(!harmless(cell).starts_with(FORMULA));
        }
    }
}

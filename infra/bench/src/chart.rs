//! Bars, as SVG: how much of each measure, in the empty handler's.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABELS: f64 = 150.0;
const ROW: f64 = 22.0;

/// Measures side by side would need a legend: one below the other.
pub fn draw(charts: &[(&str, Vec<(&str, f64)>)]) -> String {
    let (mut body, mut y) = (String::new(), 0.0);
    for (title, bars) in charts {
        y += 1.5 * ROW;
        let _ = write!(
            body,
            "<text x=\"0\" y=\"{y:.0}\" font-weight=\"bold\">{title}, in those of the empty handler</text>"
        );
        let longest = bars.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
        for (name, ratio) in bars {
            y += ROW;
            // A bar that is a hundred times the first would leave nothing of it: lengths are logarithmic.
            let length = (WIDTH - LABELS - 60.0) * (1.0 + ratio).ln() / (1.0 + longest).ln();
            let colour = if *name == crate::subjects::REFERENCE { "#999999" } else { "#c46210" };
            let _ = write!(
                body,
                "<text x=\"0\" y=\"{y:.0}\">{name}</text>\
                 <rect x=\"{LABELS}\" y=\"{:.0}\" width=\"{length:.0}\" height=\"14\" fill=\"{colour}\"/>\
                 <text x=\"{:.0}\" y=\"{y:.0}\">{ratio:.2}</text>",
                y - 12.0,
                LABELS + length + 6.0
            );
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{:.0}\" font-family=\"sans-serif\" font-size=\"13\" \
         fill=\"#333333\"><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>{body}</svg>\n",
        y + ROW
    )
}

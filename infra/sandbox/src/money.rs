//! Cents that never get lost.
//!
//! Square publishes an order's amounts together with their shares on the
//! lines, and both have to add up. So a percentage is rounded once, for the
//! whole, and the whole is then shared out.

/// `amount × numerator ÷ denominator`, rounded half to even as Square does.
pub fn part_of(amount: i64, numerator: i64, denominator: i64) -> i64 {
    let product = amount * numerator;
    let whole = product.div_euclid(denominator);
    let twice_rest = 2 * product.rem_euclid(denominator);
    let rounds_up = match twice_rest.cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => whole.rem_euclid(2) == 1,
    };
    whole + i64::from(rounds_up)
}

/// A percentage in hundredths of a percent: 625 is 6.25 %.
pub fn percent_of(amount: i64, basis_points: i64) -> i64 {
    part_of(amount, basis_points, 10_000)
}

/// Splits `total` in proportion to the weights, by largest remainder.
///
/// The parts add up to `total` exactly, unless all weights are zero: then
/// there is nobody to give anything to.
pub fn share_out(total: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i64 = weights.iter().sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let mut parts: Vec<i64> = weights.iter().map(|weight| total * weight / sum).collect();
    let missing = total - parts.iter().sum::<i64>();
    let mut by_remainder: Vec<(i64, &mut i64)> =
        weights.iter().map(|weight| total * weight % sum).zip(parts.iter_mut()).collect();
    by_remainder.sort_by_key(|(remainder, _)| -remainder);
    for (_, part) in by_remainder.into_iter().take(usize::try_from(missing).unwrap_or(0)) {
        *part += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn halves_go_to_the_even_neighbour() {
        for (amount, expected) in [(10, 0), (30, 2), (50, 2), (70, 4), (51, 3), (-30, -2)] {
            assert_eq!(part_of(amount, 5, 100), expected, "5 % of {amount}");
        }
        assert_eq!(percent_of(765, 625), 48);
    }

    #[test]
    fn shares_add_up_and_are_less_than_a_cent_away_from_exact() {
        assert_eq!(share_out(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(share_out(5, &[0, 0]), [0, 0]);
        let mut draws = Seed(3).draws("shares");
        for _ in 0..500 {
            let weights: Vec<i64> = (0..draws.between(1, 8)).map(|_| draws.between(0, 900)).collect();
            let sum: i64 = weights.iter().sum();
            let total = draws.between(0, 5_000);
            let parts = share_out(total, &weights);
            if sum > 0 {
                assert_eq!(parts.iter().sum::<i64>(), total);
                for (part, weight) in parts.iter().zip(&weights) {
                    assert!((part * sum - total * weight).abs() < sum, "{total} over {weights:?}");
                }
            }
        }
    }
}

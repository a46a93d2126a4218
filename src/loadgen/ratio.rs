//! What one server's figures are to another's, pair by pair.
//!
//! Two figures that were taken one right after the other share the weather of the machine, so their
//! ratio says more than either. This file stands alone: other packages take it in as it is.

use std::fmt;

/// The ratios of some pairs, and how sure they are. 1.00 is equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    /// The middle ratio.
    pub median: f64,
    /// The geometric mean: twice as much and half as much make 1.00.
    pub mean: f64,
    /// Where the 95 % interval of the mean begins (Student's t over the logarithms).
    pub low: f64,
    /// Where it ends.
    pub high: f64,
}

/// Why there is no ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RatioError {
    /// One pair says nothing of the spread, and none says nothing.
    TooFew,
    /// A figure is zero, negative or no number.
    NotPositive,
}

impl fmt::Display for RatioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooFew => "a ratio takes at least two rounds",
            Self::NotPositive => "a ratio takes figures above zero",
        })
    }
}

impl std::error::Error for RatioError {}

impl Ratio {
    /// The first figure of each pair over its second.
    ///
    /// # Errors
    ///
    /// If there are fewer than two pairs, or a figure is not above zero.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Result<Self, RatioError> {
        let positive = |figure: f64| figure.is_finite() && figure > 0.0;
        if !pairs.iter().all(|&(over, under)| positive(over) && positive(under)) {
            return Err(RatioError::NotPositive);
        }
        let mut logs: Vec<f64> = pairs.iter().map(|(over, under)| over.ln() - under.ln()).collect();
        let Some(median) = median(&mut logs).filter(|_| logs.len() > 1) else {
            return Err(RatioError::TooFew);
        };
        let count = number(logs.len());
        let mean = logs.iter().sum::<f64>() / count;
        let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
        let error = (squares / (count - 1.0) / count).sqrt();
        let reach = student(logs.len() - 1) * error;
        Ok(Self {
            median: median.exp(),
            mean: mean.exp(),
            low: (mean - reach).exp(),
            high: (mean + reach).exp(),
        })
    }

    /// Whether the difference is more than chance: the interval does not contain 1.00.
    pub(crate) fn beyond_noise(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// The middle of some figures, which it sorts; none of none.
pub(crate) fn median(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    let upper = *figures.get(half)?;
    Some(match figures.len() % 2 {
        0 => f64::midpoint(figures[half - 1], upper),
        _ => upper,
    })
}

/// The 97.5 % quantile of Student's t: half of its 95 % interval, by degrees of freedom.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 10] =
        [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281];
    if let Some(quantile) = freedom.checked_sub(1).and_then(|at| TABLE.get(at)) {
        return *quantile;
    }
    // Abramowitz and Stegun, 26.7.5: from there on it is right to the third decimal.
    let normal = 1.959_964_f64;
    let freedom = number(freedom);
    let [third, fifth] = [3, 5].map(|power| normal.powi(power));
    let first_term = (third + normal) / (4.0 * freedom);
    let second_term = (5.0 * fifth + 16.0 * third + 3.0 * normal) / (96.0 * freedom.powi(2));
    normal + first_term + second_term
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn figures_that_always_differ_alike_are_beyond_the_noise() {
        let ratio = Ratio::of(&[(2.0, 1.0), (20.0, 10.0), (5.0, 2.5)]).unwrap();
        for figure in [ratio.median, ratio.mean, ratio.low, ratio.high] {
            near(figure, 2.0);
        }
        assert!(ratio.beyond_noise());
    }

    #[test]
    fn equal_figures_are_not() {
        let ratio = Ratio::of(&[(3.0, 3.0), (4.0, 4.0)]).unwrap();
        assert_eq!(ratio, Ratio { median: 1.0, mean: 1.0, low: 1.0, high: 1.0 });
        assert!(!ratio.beyond_noise());
    }

    #[test]
    fn twice_and_half_make_one() {
        let ratio = Ratio::of(&[(2.0, 1.0), (1.0, 2.0)]).unwrap();
        near(ratio.mean, 1.0);
        near(ratio.median, 1.0);
        // The logarithms are 0.6931 and -0.6931: their standard error is 0.6931.
        near(ratio.high, (12.7062 * 2.0_f64.ln()).exp());
        near(ratio.low, 1.0 / ratio.high);
        assert!(!ratio.beyond_noise());
    }

    #[test]
    fn the_interval_is_students() {
        // Logarithms 0.1, 0.2 and 0.3: mean 0.2, standard error 0.1 / sqrt(3), t of 2 is 4.3027.
        let pairs = [0.1_f64, 0.2, 0.3].map(|log| (log.exp(), 1.0));
        let ratio = Ratio::of(&pairs).unwrap();
        near(ratio.mean, 0.2_f64.exp());
        near(ratio.low, (0.2 - 4.3027 * 0.1 / 3.0_f64.sqrt()).exp());
        near(ratio.high, (0.2 + 4.3027 * 0.1 / 3.0_f64.sqrt()).exp());
        assert!(!ratio.beyond_noise());
    }

    #[test]
    fn one_wild_pair_does_not_move_the_median() {
        let ratio = Ratio::of(&[(1.1, 1.0), (1.1, 1.0), (100.0, 1.0)]).unwrap();
        near(ratio.median, 1.1);
        assert!(ratio.mean > 2.0 && !ratio.beyond_noise());
    }

    #[test]
    fn the_order_of_the_pair_turns_the_ratio_over() {
        let pairs = [(1.5, 1.0), (1.4, 1.0), (1.6, 1.0), (1.5, 1.0)];
        let [one, other] =
            [Ratio::of(&pairs), Ratio::of(&pairs.map(|(a, b)| (b, a)))].map(Result::unwrap);
        near(one.mean * other.mean, 1.0);
        near(one.low * other.high, 1.0);
        assert!(one.low > 1.0 && one.beyond_noise());
        assert!(other.high < 1.0 && other.beyond_noise());
    }

    #[test]
    fn quantiles_of_student_are_those_of_the_tables() {
        for (freedom, quantile) in [(1, 12.706), (6, 2.447), (10, 2.228), (11, 2.201), (30, 2.042)]
        {
            near(student(freedom), quantile);
        }
        near(student(1_000_000), 1.960);
    }

    #[test]
    fn too_few_pairs_and_figures_that_are_not_positive_are_refused() {
        assert_eq!(Ratio::of(&[]), Err(RatioError::TooFew));
        assert_eq!(Ratio::of(&[(1.0, 1.0)]), Err(RatioError::TooFew));
        for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            for pair in [(wrong, 1.0), (1.0, wrong)] {
                assert_eq!(Ratio::of(&[(1.0, 1.0), pair]), Err(RatioError::NotPositive));
            }
        }
    }
}

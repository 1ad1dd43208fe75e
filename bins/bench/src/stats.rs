//! Latencies counted in buckets of under two per cent, medians, ratios, slopes.

/// Buckets per power of two.
const SUB: u64 = 64;
const SUB_BITS: u32 = SUB.ilog2();
const BUCKETS: usize = ((64 - SUB_BITS + 1) as u64 * SUB) as usize;

/// A histogram of nanoseconds: constant size, error below 1/64.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub(crate) fn record(&mut self, value: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(value)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Adds another's counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// The value which the share `quantile` (0–1) of all does not exceed: the upper end of its
    /// bucket.  `None` when nothing was recorded.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            below += count;
            if rank <= below {
                return Some(upper_end(index).min(self.max));
            }
        }
        Some(self.max)
    }

    /// How many were recorded.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

fn bucket_of(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let shift = value.ilog2() - SUB_BITS;
    (u64::from(shift + 1) * SUB + ((value >> shift) - SUB)) as usize
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let low = (bucket % SUB + SUB) << shift;
    low + ((1 << shift) - 1)
}

/// The median; of an even number the mean of the two in the middle.  `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|it| it.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((*values.get(middle.checked_sub(1)?)? + upper) / 2.0)
}

/// The median of `ours / theirs`, round by round: what drifts over the run hits both of a pair.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    median(ours.iter().zip(theirs).filter(|(_, theirs)| 0.0 < **theirs).map(|(a, b)| a / b))
}

/// The slope of the line through `points` that has the least squares.  `None` where there is none:
/// of fewer than two places.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mid_x, mid_y) = (mean(|it| it.0), mean(|it| it.1));
    let with = |it: &(f64, f64)| (it.0 - mid_x) * (it.1 - mid_y);
    let alone = |it: &(f64, f64)| (it.0 - mid_x) * (it.0 - mid_x);
    let (rise, run) = (points.iter().map(with).sum::<f64>(), points.iter().map(alone).sum::<f64>());
    (0.0 < run).then(|| rise / run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it() {
        let mut last = 0;
        for value in (0..4096).chain((12..64).flat_map(|it| [(1 << it) - 1, 1 << it, u64::MAX])) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS, "{value}");
            assert!(value <= upper_end(bucket), "{value}");
            assert!(upper_end(bucket) - value <= value / SUB, "{value}");
            if value < 4096 {
                assert!(last <= bucket, "{value}");
                last = bucket;
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=10_000).for_each(|it| histogram.record(it * 1000));
        for (quantile, exact) in [(0.5, 5_000_000), (0.99, 9_900_000), (0.999, 9_990_000)] {
            let found = histogram.quantile(quantile).unwrap();
            assert!(exact <= found && found - exact <= exact / SUB, "{quantile}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), Some(10_000_000));
        assert_eq!(histogram.quantile(0.0), Some(upper_end(bucket_of(1000))));
    }

    #[test]
    fn merged_histograms_count_together() {
        let (mut one, mut two) = (Histogram::default(), Histogram::default());
        (0..50).for_each(|it| one.record(it));
        (50..60).for_each(|it| two.record(it));
        one.merge(&two);
        assert_eq!((one.count(), one.quantile(1.0)), (60, Some(59)));
        assert_eq!(one.quantile(0.5), Some(29));
    }

    #[test]
    fn slopes() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(1.0, 5.0)]), None);
        assert_eq!(slope(&[(1.0, 5.0), (1.0, 6.0)]), None);
        assert_eq!(slope(&[(0.0, 5.0), (10.0, 25.0)]), Some(2.0));
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 1.0)]), Some(0.0));
    }

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(ratio(&[2.0, 6.0, 4.0], &[1.0, 2.0, 4.0]), Some(2.0));
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }
}

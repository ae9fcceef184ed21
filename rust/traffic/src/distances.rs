//! How many reads had which distance.

/// Distances below this have a bucket each.
const EXACT: u64 = 64;

/// Buckets of each doubling from there on: a bucket is at most a 32nd of its distances wide.
const PARTS: u64 = 32;

/// Longer distances count as this one.
const MOST: u64 = (1 << 40) - 1;

/// A histogram of distances with weights, in buckets that widen with the distance.
pub(crate) struct Distances(Vec<f64>);

impl Distances {
    pub(crate) fn new() -> Self {
        Self(vec![0.0; bucket(MOST) + 1])
    }

    pub(crate) fn add(&mut self, distance: u64, weight: f64) {
        self.0[bucket(distance.min(MOST))] += weight;
    }

    /// The weight of all distances up to `most`. Within a bucket they count as evenly spread.
    pub(crate) fn up_to(&self, most: u64) -> f64 {
        let end = most.min(MOST).saturating_add(1);
        let last = bucket(most.min(MOST));
        let (first, width) = bounds(last);
        let part = crate::real(end - first) / crate::real(width);
        self.0[..last].iter().sum::<f64>() + self.0[last] * part
    }

    pub(crate) fn scale(&mut self, by: f64) {
        for weight in &mut self.0 {
            *weight *= by;
        }
    }
}

fn bucket(distance: u64) -> usize {
    if distance < EXACT {
        return distance as usize;
    }
    let doublings = distance.ilog2() - EXACT.ilog2();
    // The first bits after the leading one.
    let part = (distance >> (distance.ilog2() - PARTS.ilog2())) - PARTS;
    (EXACT + u64::from(doublings) * PARTS + part) as usize
}

/// The first distance of a bucket, and how many it has.
fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return (bucket, 1);
    }
    let (doublings, part) = ((bucket - EXACT) / PARTS, (bucket - EXACT) % PARTS);
    let width = (EXACT / PARTS) << doublings;
    ((PARTS + part) * width, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_where_their_bounds_say() {
        for distance in (0..5000).chain([1 << 20, (1 << 33) + 12_345, MOST]) {
            let (first, width) = bounds(bucket(distance));
            assert!((first..first + width).contains(&distance), "{distance}: {first} + {width}");
            assert!(width == 1 || width * PARTS <= first);
        }
        assert_eq!(bucket(MOST), bucket(MOST - 1));
    }

    #[test]
    fn weights_add_up() {
        let mut distances = Distances::new();
        for distance in 1..16_384 {
            distances.add(distance, 2.0);
        }
        for most in [0, 1, 63, 64, 65, 1000, 9999] {
            let weight = distances.up_to(most);
            assert!((weight - 2.0 * crate::real(most)).abs() < 1e-6, "{most}: {weight}");
        }
        distances.scale(0.25);
        assert!((distances.up_to(u64::MAX) - 8191.5).abs() < 1e-6);
    }
}

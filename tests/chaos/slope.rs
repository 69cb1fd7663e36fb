//! A straight line through samples, and how sure its slope is: whether memory grows, or only moves.

/// By how much something grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    pub per_hour: f64,
    /// One standard error of it, from how far the samples lie off the line.
    pub error: f64,
}

/// Of fewer, three standard errors are within chance: one growth in twenty is none, with four samples.
const SAMPLES_MIN: usize = 20;

impl Slope {
    /// Of samples of seconds and values; none when there are too few to tell growth from chance.
    pub fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let count = samples.len() as f64;
        if samples.len() < SAMPLES_MIN {
            return None;
        }
        let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let spread: f64 = samples.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        let slope = samples.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / spread;
        let off: f64 = samples.iter().map(|(x, y)| (y - y_mean - slope * (x - x_mean)).powi(2)).sum();
        let error = (off / (count - 2.0) / spread).sqrt();
        spread.is_normal().then_some(Self { per_hour: slope * 3600.0, error: error * 3600.0 })
    }

    /// Whether it is above the bound, and not by chance: by three standard errors.
    pub fn is_above(self, bound: f64) -> bool {
        self.per_hour - 3.0 * self.error > bound
    }
}

#[test]
fn growth_is_told_from_noise() {
    let noise = |at: u32| f64::from(at * 7919 % 101) - 50.0;
    let samples = |per_hour: f64| {
        let sample = |at: u32| (f64::from(at), 5000.0 + f64::from(at) * per_hour / 3600.0 + noise(at));
        Slope::of(&(0..600).map(sample).collect::<Vec<_>>()).unwrap()
    };
    let (flat, growing) = (samples(0.0), samples(4096.0));
    assert!(flat.error > 1.0 && !flat.is_above(100.0), "{flat:?}");
    assert!((growing.per_hour - 4096.0).abs() < 3.0 * growing.error && growing.is_above(1024.0), "{growing:?}");
    assert_eq!(Slope::of(&[(1.0, 1.0); SAMPLES_MIN - 1]), None);
}

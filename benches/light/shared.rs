//! What the parts of the bench share: a token endpoint that stores nothing, so that a measurement is of the manager alone;
//! samples; and the share of the processor that other processes had meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use evertoken::{
    Builder, EndpointError, Grant, Issued, Key, TokenEndpoint, TokenManager, TokenPair, async_trait,
};

pub(crate) const ACCESS: usize = 1_000;
pub(crate) const REFRESH: usize = 200;

const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = HOUR.saturating_mul(24 * 30);

/// Issues different tokens of these lengths without delay.
#[derive(Debug)]
pub(crate) struct Issuer {
    issued: AtomicU64,
    /// The lengths of an access and of a refresh token, in bytes.
    lengths: (usize, usize),
}

impl Issuer {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(ACCESS, REFRESH)
    }

    pub(crate) fn of(access: usize, refresh: usize) -> Arc<Self> {
        Arc::new(Self {
            issued: AtomicU64::new(0),
            lengths: (access, refresh),
        })
    }

    /// The number of pairs that were issued.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// The bytes of the tokens of one pair.
    pub(crate) fn bytes_of_pair(&self) -> usize {
        self.lengths.0 + self.lengths.1
    }

    pub(crate) fn seed(&self) -> TokenPair {
        let (access, refresh) = self.next();
        TokenPair::new(access)
            .refresh_token(refresh)
            .expires_in(HOUR)
            .refresh_expires_in(MONTH)
    }

    fn next(&self) -> (String, String) {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let (access, refresh) = self.lengths;
        (token(number, access), token(number, refresh))
    }
}

/// A text of exactly so many bytes, in a buffer of the same size.
pub(crate) fn token(number: u64, length: usize) -> String {
    let number = number.to_string();
    let mut text = String::with_capacity(length);
    text.extend(std::iter::repeat_n('x', length - number.len()));
    text.push_str(&number);
    text
}

/// A manager over a new issuer, after its first use.
pub(crate) async fn warm(configured: impl FnOnce(Builder) -> Builder) -> TokenManager {
    let issuer = Issuer::new();
    let builder = TokenManager::builder(Arc::clone(&issuer)).seed(issuer.seed());
    let tokens = configured(builder).build().expect("it holds");
    tokens.token().await.expect("it is seeded");
    tokens
}

#[async_trait]
impl TokenEndpoint for Issuer {
    async fn exchange(&self, _: Grant<'_>) -> Result<Issued, EndpointError> {
        let (access, refresh) = self.next();
        Ok(Issued::new(access)
            .refresh_token(refresh)
            .expires_in(HOUR)
            .refresh_expires_in(MONTH))
    }

    fn key(&self) -> Key {
        Key::new("https://id.example.org/token", "bench")
    }
}

/// Undisturbed samples for a median.
const WANTED: usize = 15;

/// The most samples that are taken.
const MOST: usize = 30;

/// Fewer undisturbed samples are too few for a median.
const LEAST: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// The samples with the least disturbance count.
    pub(crate) disturbance: f64,
    /// Whether the disturbance is so small that the sample always counts.
    pub(crate) is_quiet: bool,
}

impl Samples {
    pub(crate) fn add(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    pub(crate) fn are_enough(&self) -> bool {
        self.quiet() >= WANTED || self.0.len() >= MOST
    }

    fn quiet(&self) -> usize {
        self.0.iter().filter(|sample| sample.is_quiet).count()
    }

    /// The median of the undisturbed samples, or of the least disturbed third if the undisturbed ones are too few.
    pub(crate) fn median(&self) -> f64 {
        let mut samples = self.0.clone();
        samples.sort_by(|a, b| a.disturbance.total_cmp(&b.disturbance));
        match self.quiet() {
            ..LEAST => samples.truncate(samples.len().div_ceil(3)),
            _ => samples.retain(|sample| sample.is_quiet),
        }
        samples.sort_by(|a, b| a.value.total_cmp(&b.value));
        let middle = samples.get(samples.len() / 2);
        middle.map_or(f64::NAN, |sample| sample.value)
    }

    /// The number of samples in the median, and of all samples.
    pub(crate) fn count(&self) -> String {
        let all = self.0.len();
        match self.quiet() {
            ..LEAST => format!("{} of {all}, disturbed", all.div_ceil(3)),
            quiet => format!("{quiet} of {all}"),
        }
    }
}

/// The processor time of all threads of this process. The ticks of the kernel would be wrong: they meet too often what a timer
/// wakes.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

/// How long the current threads of this process have waited for a processor; zero where the system does not report it.
pub(crate) fn waited_for_processor() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let waited = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    Duration::from_nanos(waited.sum())
}

/// A table; ` | ` separates the columns of the header.
pub(crate) fn table(header: &str) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.split(" | "));
    table
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn float(number: i64) -> f64 {
    number as f64
}

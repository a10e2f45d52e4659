//! How much a record holds besides its tokens, as it grows older.

use evertoken::{MemoryStore, TokenEndpoint as _, TokenManager, TokenStore as _};

use crate::issuer::{ACCESS, Issuer, REFRESH};
use crate::{float, here, table};

const YOUNG: usize = 10;
const OLD: usize = 10_000;

pub(crate) fn run() {
    let [young, old] = here().block_on(sizes());
    let mut table = table(&["a record", "bytes besides the tokens", "of the young one's"]);
    for (rotations, bytes) in [(YOUNG, young), (OLD, old)] {
        table.add_row([
            format!("after {rotations} rotations"),
            bytes.to_string(),
            format!("{:.2}x", float(bytes) / float(young)),
        ]);
    }
    println!("A record as JSON, without its tokens of {ACCESS} and {REFRESH} bytes.\n{table}");
}

async fn sizes() -> [i64; 2] {
    let (issuer, store) = (Issuer::new(), MemoryStore::new());
    let key = issuer.key();
    let tokens = TokenManager::builder(issuer.clone())
        .store(store.clone())
        .seed(issuer.seed())
        .build()
        .expect("it holds");
    tokens.token().await.expect("it is seeded");
    let mut sizes = [0; 2];
    let mut rotated = 0;
    for (size, rotations) in sizes.iter_mut().zip([YOUNG, OLD]) {
        while rotated < rotations {
            tokens.rotate().await.expect("it rotates");
            rotated += 1;
        }
        let loaded = store.load(&key).await.expect("it is there");
        let (record, _) = loaded.entry.expect("it is there");
        let text = serde_json::to_string(&record).expect("it is JSON");
        let tokens = ACCESS + REFRESH;
        *size = i64::try_from(text.len() - tokens).expect("it is small");
    }
    sizes
}

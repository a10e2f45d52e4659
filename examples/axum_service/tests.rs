#![allow(clippy::unwrap_used)]

use super::*;

#[tokio::test]
async fn every_order_of_a_tenant_is_served_and_no_session_is_left_in_memory() {
    let served = serve().await.unwrap();
    let expected = Served {
        ordered: ROUNDS * TENANTS,
        replays: 0,
        in_memory: 0,
    };
    assert_eq!(served, expected);
}

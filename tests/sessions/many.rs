//! A thousand tenants in one process.

use evertoken::clock::Clock;
use tokio::runtime::Handle;

use crate::support::{HOUR, MINUTE, TTL, settle};
use crate::tenants::Service;

const TENANTS: usize = 1_000;

/// A request of each tenant every minute, each with a manager of its own.
#[tokio::test(start_paused = true)]
async fn a_thousand_tenants_on_demand_for_an_hour_cost_what_their_lifetimes_ask_for_and_nothing_is_left()
 {
    let service = Service::new();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let names: Vec<_> = (0..TENANTS)
        .map(|number| format!("tenant {number}"))
        .collect();
    for name in &names {
        drop(service.signed_in(name).await);
    }
    settle().await;
    let before = tasks();
    let start = service.clock.now();
    while service.clock.now().since(start) < HOUR {
        for name in &names {
            assert!(
                service
                    .request(name)
                    .await
                    .starts_with(&format!("a {name} "))
            );
        }
        settle().await;
        assert_eq!((service.sessions.in_memory(), tasks()), (0, before));
        service.clock.advance(MINUTE).await;
    }
    let each = HOUR.as_secs() / TTL.as_secs() - 1;
    for name in &names {
        assert_eq!(service.tenants.exchanges_of(name), each, "{name}");
    }
    service.tenants.assert_unharmed();
}

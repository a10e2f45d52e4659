//! An authorization server that fails now and then.

use std::time::Duration;

use evertoken::testing::{AuthorizationServer, Fault};

const CALM: Duration = Duration::from_secs(2);
const BAD: Duration = Duration::from_millis(700);

/// Changes the weather until the task is stopped: gateways' errors, connections that are closed before and after the server has
/// decided, and calm in between.
pub(super) async fn change(server: AuthorizationServer) {
    let page = Fault::status(503);
    let faults = [page, Fault::DropBefore, Fault::status(502)];
    for fault in faults.into_iter().cycle() {
        tokio::time::sleep(CALM).await;
        // One answer is lost after the server has spent the token.
        server.fail_next(Fault::DropAfter);
        tokio::time::sleep(CALM).await;
        server.fail_always(Some(fault));
        tokio::time::sleep(BAD).await;
        server.fail_always(None);
    }
}

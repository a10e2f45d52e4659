//! An instance that can die.

use evertoken::Builder;
use evertoken::testing::Fault;
use tokio::runtime::Runtime;

use crate::scene::{Caller, HOUR, Node, PATIENCE, Scene, until};

/// An instance whose tasks all run on a runtime of its own.
pub(crate) struct Mortal {
    runtime: Runtime,
    pub(crate) node: Node,
}

impl Mortal {
    pub(crate) async fn new(scene: &Scene) -> Self {
        Self::with(scene, |builder| builder).await
    }

    pub(crate) async fn with(scene: &Scene, set: impl FnOnce(Builder) -> Builder) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let line = scene.line_on(runtime.handle()).await;
        let builder = set(scene.builder(&line));
        let node = runtime.spawn(async move { Node::loaded(builder, line).await });
        Self {
            node: node.await.expect("the session is loaded"),
            runtime,
        }
    }

    pub(crate) fn call(&self) -> Caller {
        let tokens = self.node.tokens.clone();
        self.runtime.spawn(async move { tokens.token().await })
    }

    /// Ends all tasks of the instance at any point, and drops everything that the instance holds.
    pub(crate) async fn die(self) {
        let Self { runtime, node } = self;
        let dying = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
        dying.await.expect("the runtime ends");
        drop(node);
    }

    /// Leases the token, sends the request, and dies before the answer is read.
    pub(crate) async fn die_sending(self, scene: &Scene, fault: Fault) {
        scene.server.fail_next(fault);
        let arrived = scene.server.exchanges();
        self.call();
        scene.server.arrived(arrived + 1).await;
        until("the lease of the instance is stored", async || {
            !scene.json().await["lease"].is_null()
        })
        .await;
        self.die().await;
    }
}

/// The request arrives, and the server never decides it.
pub(crate) fn never() -> Fault {
    Fault::DelayBefore(HOUR)
}

/// The token is spent, and the answer is never sent.
pub(crate) fn unanswered() -> Fault {
    Fault::Delay(HOUR)
}

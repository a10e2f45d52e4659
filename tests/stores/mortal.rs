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
            node: node.await.expect("it is loaded"),
            runtime,
        }
    }

    pub(crate) fn call(&self) -> Caller {
        let tokens = self.node.tokens.clone();
        self.runtime.spawn(async move { tokens.token().await })
    }

    /// Ends all its tasks, whatever they do, and drops all that it holds.
    pub(crate) async fn die(self) {
        let Self { runtime, node } = self;
        let dying = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE));
        dying.await.expect("it ends");
        drop(node);
    }

    /// Leases, sends, and dies before it reads the answer.
    pub(crate) async fn die_sending(self, scene: &Scene, fault: Fault) {
        scene.server.fail_next(fault);
        let arrived = scene.server.exchanges();
        self.call();
        scene.server.arrived(arrived + 1).await;
        until("its lease is there", async || {
            !scene.json().await["lease"].is_null()
        })
        .await;
        self.die().await;
    }
}

/// The request arrives, and is never decided.
pub(crate) fn never() -> Fault {
    Fault::DelayBefore(HOUR)
}

/// The token is spent, and the answer never sent.
pub(crate) fn unanswered() -> Fault {
    Fault::Delay(HOUR)
}

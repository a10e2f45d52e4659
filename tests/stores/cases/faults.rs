//! Connections that lose requests and answers at random.

use evertoken::{Builder, CoolDown};

use crate::line::Fate;
use crate::scene::{Node, Scene, common_token, millis, until};

super::cases![fm5_a_token_is_spent_once_and_every_instance_gets_the_pair_whatever_is_lost,];

const ROUNDS: u64 = 12;

/// A xorshift generator, which gives the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn fate(&mut self) -> Fate {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        match self.0 % 8 {
            0 | 1 => Fate::AppliedUnanswered,
            2 => Fate::Lost,
            _ => Fate::Works,
        }
    }
}

/// A token is spent once, and every instance gets the pair, whichever requests and answers of the store are lost.
async fn fm5_a_token_is_spent_once_and_every_instance_gets_the_pair_whatever_is_lost(scene: Scene) {
    let pause = millis(10);
    let cool_down = CoolDown::default()
        .early(pause)
        .expired(pause)
        .longest(pause);
    for seed in [0x9E37_79B9, 0x7F4A_7C15, 0xF39C_0C11] {
        let scene = scene.strict();
        let set = |builder: Builder| builder.cool_down(cool_down);
        let nodes: [_; 3] = scene.nodes_with(set).await;
        let mut dice = Dice(seed);
        for round in 1..=ROUNDS {
            for node in &nodes {
                node.line.swaps_meet((0..4).map(|_| dice.fate()));
            }
            scene.expire().await;
            common_token(nodes.iter().map(Node::call)).await;
            until("every instance has stored its pairs", async || {
                let settled = |node: &Node| {
                    let status = node.status();
                    !status.is_rotating && !status.is_unpersisted
                };
                nodes.iter().all(settled) && scene.json().await["lease"].is_null()
            })
            .await;
            let stored = scene.record().await.pair_id();
            assert_eq!(stored.version, round + 1, "seed {seed:x}");
            for node in &nodes {
                let token = node.token().await.expect("the instance has a token");
                assert_eq!(token.pair_id(), stored, "seed {seed:x}, round {round}");
                assert!(scene.is_live(&token));
            }
            assert_eq!(scene.counts(), (round, 0, 0), "seed {seed:x}");
        }
    }
}

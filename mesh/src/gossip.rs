//! How gossipsub is set up, and why.
//!
//! - `Anonymous` with `validate_messages`: Aether's envelope is signed, and the inbox gives the
//!   verdict. The message id is [`gossip_id`](crate::proto::envelope::gossip_id).
//! - `max_transmit_size` is far above the largest envelope. Gossipsub compares it with the whole
//!   read buffer, which grows in steps of 8 KiB, so a burst just under it breaks the stream; and
//!   what it refuses it refuses in silence. So it lets more through, and the inbox refuses what is
//!   too large with a fault that counts. A frame that is larger still ends its sender's gossip on
//!   that connection: gossipsub closes the stream, and a sender like itself never opens another.
//! - IHAVE is cut to 700 ids: gossipsub refuses control messages above 16 KiB, and its default of
//!   5000 ids is larger than that.
//! - The queue to a peer is counted in messages: 256 of them are 16 MiB at most.
//! - Standard protocol names, since a custom one turns IDONTWANT off; topic names hold the mesh id.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use libp2p::gossipsub::{
    self, ConfigBuilder, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode,
};
use prometheus_client::registry::Registry;

use crate::{
    config::Preset,
    proto::envelope::{MAX_PAYLOAD, OVERHEAD, gossip_id},
};

/// Largest message that gossipsub lets through: see the module. One peer can make it buffer that.
const MAX_TRANSMIT: usize = 256 * 1024;
const _: () = assert!(MAX_TRANSMIT >= MAX_PAYLOAD + OVERHEAD + 9 * 1024);

struct Pace {
    heartbeat: u64,
    initial_delay: u64,
    history: (usize, usize),
    backoff: (u64, u64),
}

pub(crate) fn behaviour(
    preset: Preset,
    registry: &mut Registry,
) -> Result<gossipsub::Behaviour, String> {
    let pace = match preset {
        // The history is kept in memory: two seconds of it at least, since a verdict must come
        // while the message is there. A node that left in order must be let in again at once.
        Preset::Local => {
            Pace { heartbeat: 200, initial_delay: 50, history: (10, 5), backoff: (5, 1) }
        }
        Preset::Lan => {
            Pace { heartbeat: 700, initial_delay: 100, history: (5, 3), backoff: (30, 5) }
        }
        Preset::Internet | Preset::Closed => {
            Pace { heartbeat: 1000, initial_delay: 500, history: (5, 3), backoff: (60, 10) }
        }
    };
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| {
            MessageId::from(gossip_id(message.topic.as_str(), &message.data).as_slice())
        })
        .max_transmit_size(MAX_TRANSMIT)
        .max_control_messages_sent(700)
        .connection_handler_queue_len(256)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(2))
        .idontwant_on_publish(true)
        .heartbeat_interval(Duration::from_millis(pace.heartbeat))
        .heartbeat_initial_delay(Duration::from_millis(pace.initial_delay))
        .history_length(pace.history.0)
        .history_gossip(pace.history.1)
        .prune_backoff(Duration::from_secs(pace.backoff.0))
        .unsubscribe_backoff(Duration::from_secs(pace.backoff.1))
        .build()
        .map_err(|error| error.to_string())?;
    let mut behaviour = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config)?
        .with_metrics(registry.sub_registry_with_prefix("gossipsub"), Default::default());
    behaviour.with_peer_score(peer_score(preset), thresholds())?;
    Ok(behaviour)
}

fn peer_score(preset: Preset) -> PeerScoreParams {
    let mut params = PeerScoreParams::default();
    params.ip_colocation_factor_whitelist.insert(Ipv4Addr::LOCALHOST.into());
    params.ip_colocation_factor_whitelist.insert(Ipv6Addr::LOCALHOST.into());
    if !preset.is_internet() {
        // Behind one address there may be a rack.
        params.ip_colocation_factor_weight = 0.0;
    }
    // A full queue is a slow peer, and pacing sees to it; it is no malice.
    params.slow_peer_weight = 0.0;
    params
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -10.0,
        publish_threshold: -50.0,
        graylist_threshold: -80.0,
        accept_px_threshold: 10.0,
        opportunistic_graft_threshold: 1.0,
    }
}

/// Scores of one topic: credit for being first, a square penalty for what is invalid. Penalties for
/// too few deliveries are off: a quiet topic is no fault of its mesh.
pub(crate) fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 100.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 100.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -1.0,
        invalid_message_deliveries_decay: 0.99,
        ..TopicScoreParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_accepted_upstream() {
        for preset in [Preset::Local, Preset::Lan, Preset::Internet] {
            behaviour(preset, &mut Registry::default()).unwrap();
        }
        topic_score().validate().unwrap();
    }

    #[test]
    fn ten_forgeries_reach_the_graylist() {
        let params = topic_score();
        let penalty = params.invalid_message_deliveries_weight * 10.0 * 10.0;
        let best = params.first_message_deliveries_weight * params.first_message_deliveries_cap
            + params.time_in_mesh_weight * params.time_in_mesh_cap;
        assert!(penalty + best < thresholds().graylist_threshold);
    }
}

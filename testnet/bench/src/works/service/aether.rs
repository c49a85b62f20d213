//! Aether's services, with the settings of `Preset::Local`.

use aether_mesh::{Call, Client, Node, Preset, Service, Serving};

use super::trial::Pair;
use crate::subjects::{Transport, aether::Payload};

const SERVICE: &str = "bench";

/// Calls that the service answers at once: more than any load has in flight.
const CONCURRENCY: u32 = 4096;

pub(super) struct Aether {
    client: Client,
    serving: Serving,
    nodes: [Node; 2],
}

impl Aether {
    pub(super) async fn start(transport: Transport) -> anyhow::Result<Self> {
        // Other runs on this machine are no part of this one.
        let mesh = format!("bench {}", std::process::id());
        let builder = || Node::builder(Preset::Local).mesh(&mesh).listen([transport.listen()]);
        let server = builder().spawn().await?;
        let caller = builder().seeds(server.addresses().await?).spawn().await?;
        let echo = async |call: Call<Payload>| Ok(call.value);
        let service = Service::new().concurrency(CONCURRENCY).endpoint("echo", echo);
        let serving = server.serve(SERVICE, service).await?;
        Ok(Self { client: caller.client(SERVICE), serving, nodes: [server, caller] })
    }
}

impl Pair for Aether {
    async fn call(&self, payload: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let reply: Payload = self.client.call("echo", &Payload(payload)).await?;
        Ok(reply.0)
    }

    async fn stop(self) {
        self.serving.drain().await;
        for node in self.nodes {
            node.shutdown().await;
        }
    }
}

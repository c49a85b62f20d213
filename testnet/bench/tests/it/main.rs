//! Small runs of each subject, on each transport, in this process.

use aether_bench::{
    subjects::{Subject, Transport},
    works::{
        blob,
        gossip::trial::{Load, Sample, Trial, run},
        service,
    },
};

const NODES: usize = 3;

async fn sample(subject: Subject, transport: Transport, size: usize, load: Load) -> Sample {
    let trial = Trial { subject, transport, nodes: NODES, size, load, seed: 7 };
    let sample = run(&trial).await.expect("a small run ends well");
    assert!(sample.is_clean(), "{trial:?}: {sample:?}");
    assert_eq!(sample.mesh_degree, 2.0, "all are in each other's mesh");
    assert_eq!(sample.payload_bytes, sample.deliveries * size as u64);
    // Node 0 sends each payload twice, and a forward makes it more; nothing makes it four times.
    let ratio = sample.sent_bytes as f64 / sample.payload_bytes as f64;
    assert!(ratio >= 1.0 && (size < 1024 || ratio < 4.0), "{trial:?}: {sample:?}");
    assert!(sample.cpu_seconds > 0.0 && sample.peak >= sample.resident, "{sample:?}");
    sample
}

async fn steady(subject: Subject, transport: Transport, express: bool) {
    let load = Load::Latency { messages: 20, rate: 100, express };
    let sample = sample(subject, transport, 64, load).await;
    assert_eq!(sample.deliveries, 20 * (NODES as u64 - 1));
    assert!(sample.p50 > 0.0 && sample.p99 >= sample.p50, "{sample:?}");
}

async fn flat_out(subject: Subject, transport: Transport, window: Option<usize>) {
    let load = Load::Throughput { seconds: 0.2, window };
    let sample = sample(subject, transport, 32 * 1024, load).await;
    assert!(sample.deliveries > 0 && sample.seconds > 0.0, "{sample:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aether_is_measured() {
    steady(Subject::Aether, Transport::Tcp, false).await;
    steady(Subject::Aether, Transport::Quic, true).await;
    flat_out(Subject::Aether, Transport::Tcp, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_gossipsub_is_measured() {
    steady(Subject::Plain, Transport::Tcp, false).await;
    steady(Subject::Plain, Transport::Quic, false).await;
    flat_out(Subject::Plain, Transport::Tcp, Some(8)).await;
}

async fn calls(subject: service::trial::Subject, transport: Transport) {
    let trial =
        service::trial::Trial { subject, transport, depth: 8, size: 64, seconds: 0.2, seed: 7 };
    let sample = service::trial::run(&trial).await.expect("a small run ends well");
    assert!(sample.is_clean(), "{trial:?}: {sample:?}");
    assert!(sample.p50 > 0.0 && sample.p99 >= sample.p50, "{sample:?}");
    assert!(sample.seconds > 0.1 && sample.cpu_seconds > 0.0 && sample.peak > 0, "{sample:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aether_services_are_measured() {
    calls(service::trial::Subject::Aether, Transport::Tcp).await;
    calls(service::trial::Subject::Aether, Transport::Quic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn request_response_is_measured() {
    for is_lazy in [false, true] {
        calls(service::trial::Subject::RequestResponse { is_lazy }, Transport::Tcp).await;
        calls(service::trial::Subject::RequestResponse { is_lazy }, Transport::Quic).await;
    }
}

async fn transfer(subject: blob::trial::Subject, transport: Transport, providers: u64) {
    let trial = blob::trial::Trial { subject, transport, providers, bytes: 3_000_000, seed: 7 };
    let sample = blob::trial::run(&trial).await.expect("a small run ends well");
    assert!(sample.is_intact && sample.received >= sample.bytes, "{trial:?}: {sample:?}");
    assert!(sample.seconds > 0.0 && sample.cpu_seconds > 0.0 && sample.peak > 0, "{sample:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_measured() {
    transfer(blob::trial::Subject::Aether, Transport::Tcp, 1).await;
    transfer(blob::trial::Subject::Aether, Transport::Quic, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_streams_are_measured() {
    transfer(blob::trial::Subject::Stream, Transport::Tcp, 2).await;
    transfer(blob::trial::Subject::Stream, Transport::Quic, 1).await;
}

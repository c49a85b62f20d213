//! Who isn't let in, and that they get no protocol at all.

use aether_mesh::{
    Multiaddr, Node, Preset, SpawnError,
    access::{CLOCK_SKEW, EnterError},
};
use futures::StreamExt as _;
use libp2p::{Swarm, SwarmBuilder, swarm::SwarmEvent};

use super::*;
use crate::support::{shutdown, until, within};

/// Addresses of a node by one transport.
async fn over(node: &Node, transport: &str) -> Vec<Multiaddr> {
    let mut addresses = node.addresses().await.unwrap();
    addresses.retain(|address| address.to_string().contains(transport));
    assert!(!addresses.is_empty());
    addresses
}

/// Everything that a node listens on, and what tells the transports apart in its addresses.
const EVERYTHING: [&str; 4] = [
    "/ip4/127.0.0.1/udp/0/quic-v1",
    "/ip4/127.0.0.1/tcp/0",
    "/ip4/127.0.0.1/tcp/0/ws",
    "/memory/0",
];
const TRANSPORTS: [&str; 4] = ["/quic-v1", "/tcp/", "/ws", "/memory/"];

/// A node that dials `target` over every transport is refused for a reason that it is told, and
/// never gets a connection; nor does the target.
async fn is_refused(admin: &Admin, key: &SecretKey, membership: Membership, why: &str) {
    let target = admin.member(Role::Writer).listen(EVERYTHING).spawn().await.unwrap();
    for transport in TRANSPORTS {
        let stranger = admin.enter(key, membership.clone());
        let stranger = stranger.seeds(over(&target, transport).await).spawn().await.unwrap();
        until("it to be refused", || async {
            assert_eq!(target.status().await.unwrap().connections.len(), 0);
            assert_eq!(stranger.status().await.unwrap().connections.len(), 0);
            stranger.access().unwrap().refused.is_some()
        })
        .await;
        let told = stranger.access().unwrap().refused.unwrap();
        assert!(told.contains(why), "{told}");
        assert_eq!(established(&target), 0, "its swarm never saw a connection");
        assert_eq!(established(&stranger), 0, "nor did the stranger's");
        stranger.shutdown().await;
    }
    shutdown(vec![target]).await;
}

/// How many connections a node's swarm ever had.
fn established(node: &Node) -> u64 {
    let text = node.metrics().encode();
    let lines = text.lines().filter(|line| {
        line.starts_with("libp2p_swarm_connections_established_total{")
            || line.starts_with("libp2p_swarm_connections_established_total ")
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_over_every_transport() {
    let admin = Admin::found("every");
    let one = admin.member(Role::Writer).listen(EVERYTHING).spawn().await.unwrap();
    for transport in TRANSPORTS {
        let two = admin.member(Role::Reader).listen([""; 0]).seeds(over(&one, transport).await);
        let two = two.spawn().await.unwrap();
        until(transport, || is_connected(&one, &two)).await;
        until("what it showed", || async { one.access_of(&two.id()).is_some() }).await;
        assert_eq!(one.access_of(&two.id()).unwrap().role, Role::Reader);
        // Or the counts of none elsewhere would show nothing.
        assert!(established(&one) > 0 && established(&two) > 0);
        two.shutdown().await;
    }
    shutdown(vec![one]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_member_gets_nothing() {
    let (admin, key) = (Admin::found("expired"), fresh());
    // Its own clock, a little behind, lets it begin.
    let from = wall_now() - HOUR - CLOCK_SKEW + Duration::from_secs(2);
    let membership = admin.admit(&key, Role::Writer, from);
    let target = admin.member(Role::Writer).spawn().await.unwrap();
    let late = admin.enter(&key, membership.clone()).spawn().await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    late.dial(target.addresses().await.unwrap().remove(0)).await.unwrap();
    until("it to be refused", || async {
        late.access().unwrap().refused.is_some_and(|why| why.contains("ask an admin"))
    })
    .await;
    assert_eq!(established(&target), 0);
    let error = admin.enter(&key, membership).spawn().await.unwrap_err().to_string();
    assert!(error.contains("expired at") && error.contains("ask an admin"), "{error}");
    shutdown(vec![target, late]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_another_mesh_gets_nothing() {
    // Of the same name, founded by somebody else.
    let (admin, other, key) = (Admin::found("same"), Admin::found("same"), fresh());
    let membership = other.admit(&key, Role::Admin, wall_now());
    is_refused(&admin, &key, membership, "no member").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_member_gets_nothing() {
    let (admin, key) = (Admin::found("revoked"), fresh());
    let membership = admin.admit(&key, Role::Writer, wall_now());
    let target = admin.member(Role::Writer).spawn().await.unwrap();
    target.revoke(admin.revoke(key.public())).await.unwrap();
    until("the revocation", || async { target.access().unwrap().revocations == 1 }).await;
    let bad = admin.enter(&key, membership).seeds(target.addresses().await.unwrap());
    let bad = bad.spawn().await.unwrap();
    until("it to be refused", || async {
        bad.access().unwrap().refused.is_some_and(|why| why.contains("revoked"))
    })
    .await;
    assert_eq!((established(&target), established(&bad)), (0, 0));
    shutdown(vec![target, bad]).await;
}

/// A plain libp2p node with ping alone.
fn plain() -> Swarm<libp2p::ping::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(
            libp2p::tcp::Config::default(),
            libp2p::noise::Config::new,
            libp2p::yamux::Config::default,
        )
        .unwrap()
        .with_quic()
        .with_behaviour(|_| libp2p::ping::Behaviour::default())
        .unwrap()
        .build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_without_a_capability_gets_no_protocol() {
    let target = Admin::found("stranger").member(Role::Writer).spawn().await.unwrap();
    for transport in ["/tcp/", "/quic-v1"] {
        let mut swarm = plain();
        swarm.dial(over(&target, transport).await.remove(0)).unwrap();
        within("the connection to end", async {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionClosed { .. } => return,
                    SwarmEvent::OutgoingConnectionError { .. } => return,
                    SwarmEvent::Behaviour(ping) => assert!(ping.result.is_err(), "{ping:?}"),
                    _ => {}
                }
            }
        })
        .await;
        assert_eq!(established(&target), 0);
    }
    shutdown(vec![target]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_an_open_mesh_gets_nothing() {
    let target = Admin::found("open-one").member(Role::Writer).spawn().await.unwrap();
    let open = builder("open-one").seeds(target.addresses().await.unwrap()).spawn().await.unwrap();
    within("some attempts", async {
        tokio::time::sleep(Duration::from_secs(3)).await;
    })
    .await;
    assert_eq!(established(&target), 0);
    assert_eq!(target.members().await.unwrap(), []);
    shutdown(vec![target, open]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_let_a_node_in_is_refused_at_the_start() {
    let (admin, key) = (Admin::found("start"), fresh());
    let refused = async |builder: Builder| match builder.spawn().await {
        Err(SpawnError::Access(error)) => error,
        other => panic!("{other:?}"),
    };
    let error = refused(builder("aether").genesis(admin.genesis())).await;
    assert!(matches!(&error, EnterError::NoMember { .. }), "{error}");
    assert!(error.to_string().contains("ask an admin for an invite"), "{error}");
    // Bound to another peer.
    let others = admin.admit(&fresh(), Role::Writer, wall_now());
    let error = refused(admin.enter(&key, others)).await;
    assert!(error.to_string().contains("another peer's"), "{error}");
    // Forged.
    let mut forged = admin.admit(&key, Role::Writer, wall_now());
    let mut bytes = forged.capability.encode();
    bytes[67] = 3;
    forged.capability = Capability::decode(&bytes).unwrap();
    let error = refused(admin.enter(&key, forged)).await;
    assert!(error.to_string().contains("forged"), "{error}");
    // An open mesh where a closed one is wanted, and a name that doesn't fit.
    let closed = Node::builder(Preset::Closed).listen(["/ip4/127.0.0.1/tcp/0"]);
    assert!(matches!(refused(closed).await, EnterError::Open { .. }));
    let token = admin.invite(Role::Writer).to_text();
    assert!(matches!(refused(builder("x").invite(&token)).await, EnterError::OtherMesh { .. }));
    let torn = builder("aether").invite(&token[..50]).spawn().await.unwrap_err().to_string();
    assert!(torn.contains("copy it again"), "{torn}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_borrowed_or_forged_capability_gets_nothing() {
    // The node itself would refuse to start with these: a liar's would not.
    let (admin, key) = (Admin::found("liar"), fresh());
    let others = admin.admit(&fresh(), Role::Writer, wall_now()).capability;
    let mut forged = admin.admit(&key, Role::Writer, wall_now()).capability.encode();
    forged[67] = 3;
    let target = admin.member(Role::Writer).spawn().await.unwrap();
    for shown in [others.encode(), forged, vec![], vec![7; 60_000]] {
        for transport in ["/tcp/", "/quic-v1"] {
            let address = over(&target, transport).await.remove(0);
            let answer = within("the answer", liar::show(&key, address, &shown)).await;
            assert_eq!(answer, [1], "no member, and nothing more");
        }
    }
    assert_eq!(established(&target), 0);
    shutdown(vec![target]).await;
}

/// One who speaks the exchange by hand.
mod liar {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _, future::poll_fn};
    use libp2p::{
        Multiaddr, Transport as _,
        core::{
            Endpoint,
            muxing::{StreamMuxerBox, StreamMuxerExt as _},
            transport::{DialOpts, PortUse, upgrade::Version},
        },
        identity, noise, quic, tcp, yamux,
    };

    /// Dials, shows these bytes, and gives all that is answered.
    pub(super) async fn show(
        key: &aether_core::SecretKey,
        address: Multiaddr,
        shown: &[u8],
    ) -> Vec<u8> {
        let key = identity::Keypair::ed25519_from_bytes(key.to_bytes()).unwrap();
        let tcp = tcp::tokio::Transport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .map(|(_, muxer), _| StreamMuxerBox::new(muxer));
        let quic = quic::tokio::Transport::new(quic::Config::new(&key))
            .map(|(_, muxer), _| StreamMuxerBox::new(muxer));
        let mut transport = quic.or_transport(tcp).map(|either, _| either.into_inner()).boxed();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut address = address;
        address.pop();
        let mut muxer = transport.dial(address, options).unwrap().await.unwrap();
        let mut stream = poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.unwrap();
        let talk = async {
            let length = u16::try_from(shown.len()).unwrap().to_be_bytes();
            let _ = stream.write_all(&[&[1][..], &length, shown].concat()).await;
            let _ = stream.flush().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let drive = poll_fn(|cx| muxer.poll_unpin(cx).map(drop));
        let mut talk = std::pin::pin!(talk);
        match futures::future::select(&mut talk, drive).await {
            futures::future::Either::Left((answer, _)) => answer,
            futures::future::Either::Right(_) => talk.await,
        }
    }
}

//! What it takes for a cluster to have settled.

use std::collections::BTreeSet;

use crate::{api::Peer, cluster::Node};

/// What is wrong with a node's list of peers: it should hold every other node for an alive member
/// with the addresses of its present life, and nobody else for a member.
pub(crate) fn wrong_members(me: usize, nodes: &[Node], peers: &[Peer]) -> Option<String> {
    let name = &nodes[me].name;
    for other in nodes.iter().enumerate().filter(|(index, _)| *index != me).map(|(_, node)| node) {
        let listed = peers.iter().find(|peer| peer.peer == other.peer && peer.state == "alive");
        let Some(listed) = listed else {
            return Some(format!("{name} doesn't list {} as alive", other.name));
        };
        if !other.addresses.iter().all(|address| lists(&listed.addresses, address)) {
            return Some(format!("{name} lists {} where it no longer is", other.name));
        }
    }
    let members = peers.iter().filter(|peer| peer.is_member()).count();
    (members >= nodes.len()).then(|| format!("{name} lists {members} members, which is too many"))
}

/// Whether addresses hold this one, with or without peer ids at their ends.
fn lists(addresses: &[String], address: &str) -> bool {
    addresses.iter().any(|listed| bare(listed) == bare(address))
}

/// An address without the peer id at its end.
pub(crate) fn bare(address: &str) -> &str {
    address.split_once("/p2p/").map_or(address, |(bare, _)| bare)
}

/// The edges, lower end first, that go both ways.
pub(crate) fn both_ways(ways: &BTreeSet<(usize, usize)>) -> BTreeSet<(usize, usize)> {
    let is_edge = |(from, to): &&(usize, usize)| from < to && ways.contains(&(*to, *from));
    ways.iter().filter(is_edge).copied().collect()
}

/// How many parts a graph of so many nodes has.
pub(crate) fn components(nodes: usize, edges: &BTreeSet<(usize, usize)>) -> usize {
    let mut part: Vec<usize> = (0..nodes).collect();
    for &(one, other) in edges {
        // The edge makes one part of two.
        let (from, to) = (part[one], part[other]);
        part.iter_mut().filter(|part| **part == from).for_each(|part| *part = to);
    }
    part.into_iter().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_graph_are_counted() {
        assert_eq!(components(4, &BTreeSet::new()), 4);
        assert_eq!(components(4, &[(0, 1), (2, 3)].into()), 2);
        assert_eq!(components(4, &[(0, 3), (1, 2), (1, 3)].into()), 1);
    }

    #[test]
    fn a_way_without_a_way_back_is_no_edge() {
        let ways = [(0, 1), (1, 0), (0, 2), (3, 2)].into();
        assert_eq!(both_ways(&ways), [(0, 1)].into());
    }

    fn peer(name: &str, state: &str, port: u16) -> Peer {
        let addresses = vec![format!("/ip4/127.0.0.1/tcp/{port}")];
        Peer { peer: name.to_owned(), state: state.to_owned(), addresses, meshes: None }
    }

    #[test]
    fn members_are_right_when_all_others_are_alive_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut nodes: Vec<Node> =
            (0..3).map(|index| Node::new(folder.path(), index).unwrap()).collect();
        for (node, port) in nodes.iter_mut().zip(1..) {
            node.peer = format!("12D{port}");
            node.addresses = vec![format!("/ip4/127.0.0.1/tcp/{port}/p2p/12D{port}")];
        }
        let wrong = |peers: &[Peer]| wrong_members(0, &nodes, peers);
        let (one, other) = (peer("12D2", "alive", 2), peer("12D3", "alive", 3));
        assert_eq!(wrong(&[one.clone(), other.clone(), peer("12D9", "connected", 9)]), None);
        assert!(wrong(std::slice::from_ref(&one)).unwrap().contains("doesn't list node2"));
        let suspect = peer("12D3", "suspect", 3);
        assert!(wrong(&[one.clone(), suspect]).unwrap().contains("doesn't list node2 as alive"));
        let moved = peer("12D3", "alive", 4);
        assert!(wrong(&[one.clone(), moved]).unwrap().contains("no longer is"));
        let stranger = peer("12D9", "suspect", 9);
        assert!(wrong(&[one, other, stranger]).unwrap().contains("3 members"));
    }
}

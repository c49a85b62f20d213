//! Answering other nodes of the map.

use std::{collections::BTreeSet, sync::Arc};

use aether_core::{Hash, PublicKey};
use aether_mesh::{Call, Failure, Service, identity};
use ciborium::Value;
use minicbor::bytes::{ByteArray, ByteVec};

use super::hub::{ASK, Shared};
use crate::{
    Space,
    driver::{Part, tag},
    proto::{
        map::{self, Action, Edit, Keys},
        partitions::{
            Ask, Declined, Level, Role, Said,
            message::{
                MAX_PAGE, MAX_PAGE_KEYS, named, read_all_rows, write_context, write_elements,
            },
            placement::items,
        },
    },
};

/// Questions that are answered at once.
const MAX_ANSWERED: u32 = 256;

/// The service by which nodes of the map ask each other.
pub(super) fn service(shared: Arc<Shared>) -> Service {
    let handler = move |call: Call<Value>| {
        let shared = Arc::clone(&shared);
        async move {
            let refused = || Failure::new(1, "whoever asks doesn't show that it has the map");
            let caller = identity::public_key(&call.caller).ok_or_else(refused)?;
            let Value::Bytes(bytes) = call.value else { return Err(refused()) };
            let (proof, question) = bytes.split_at_checked(32).ok_or_else(refused)?;
            if proof != tag(&shared.control.id(), &caller, &shared.me) {
                return Err(refused());
            }
            let ask = Ask::decode(question)?;
            Ok(Value::Bytes(answer(&shared, caller, ask).await.encode()))
        }
    };
    Service::new().concurrency(MAX_ANSWERED).endpoint(ASK, handler)
}

/// Answers a question.
pub(super) async fn answer(shared: &Arc<Shared>, from: PublicKey, ask: Ask) -> Said {
    let said = match ask {
        Ask::Write { partition, key, value, level } => {
            let level = Level::from_byte(level);
            write(shared, partition, key.into(), value.map(Into::into), level).await
        }
        Ask::Get { partition, key } => get(shared, partition, key.into()).await,
        Ask::Scan { partition, from, limit } => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, MAX_PAGE_KEYS);
            scan(shared, partition, from.into(), limit).await
        }
        Ask::Compare { partition, view, rows } => {
            compare(shared, from, partition, Hash::from_bytes(view.into()), &rows).await
        }
        Ask::Hasten { partition, peer } => {
            if let Some(copy) = shared.copy(partition) {
                shared.tell(Part::Compare { space: copy.id(), peer: named(&peer) }).await;
            }
            Ok(Said::Hastened {})
        }
    };
    said.unwrap_or_else(Said::from)
}

/// The edit that a write makes in a partition's space.
pub(super) fn edit(key: Vec<u8>, value: Option<Vec<u8>>) -> Result<Edit, map::EditError> {
    Edit::new(items(), key, value.map_or(Action::Remove, Action::Put))
}

/// Coordinates a write.
async fn write(
    shared: &Shared,
    partition: u16,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    level: Option<Level>,
) -> Result<Said, Declined> {
    let level = level.ok_or(Declined::Failed)?;
    match shared.known().role(partition) {
        Role::Owner { is_whole: true } => {}
        Role::Owner { is_whole: false } => return Err(Declined::NotWhole),
        Role::Former { .. } | Role::Stranger => return Err(Declined::NotOwner),
    }
    let copy = shared.copy(partition).ok_or(Declined::NotWhole)?;
    let edit = edit(key, value).map_err(|_| Declined::Failed)?;
    let written = copy.edit(vec![edit]).await.map_err(|_| Declined::Failed)?;
    // There was nothing to remove.
    let Some(entry) = written else { return Ok(Said::Written { held: 1 }) };
    let mut known = shared.known.subscribe();
    loop {
        let placement = known.borrow_and_update().placement.clone().ok_or(Declined::Failed)?;
        let mut peers: BTreeSet<PublicKey> = placement.owners(partition).iter().copied().collect();
        let own = usize::from(peers.remove(&shared.me));
        let need = placement.need(partition, level).saturating_sub(own);
        let space = copy.id();
        let held = shared.part(|reply| Part::Await { space, entry, peers, need, reply });
        tokio::select! {
            held = held => {
                let held = own + held.ok_or(Declined::Failed)?;
                return Ok(Said::Written { held: u16::try_from(held).unwrap_or(u16::MAX) });
            }
            // Whoever owns it by the new list is to hold it.
            changed = known.wait_for(|known| {
                known.placement.as_ref().is_none_or(|now| now.view() != placement.view())
            }) => drop(changed.map_err(|_| Declined::Failed)?),
        }
    }
}

/// The copy to read from, the view, whether this node owns the partition, and what it holds.
async fn readable(
    shared: &Shared,
    partition: u16,
) -> Result<(Space, ByteArray<32>, bool, ByteVec), Declined> {
    let known = shared.known();
    let owns = match known.role(partition) {
        Role::Owner { is_whole: true } => true,
        Role::Former { was_whole: true } => false,
        Role::Owner { .. } => return Err(Declined::NotWhole),
        Role::Former { .. } | Role::Stranger => return Err(Declined::NotOwner),
    };
    let copy = shared.copy(partition).ok_or(Declined::NotWhole)?;
    let space = copy.id();
    let context = shared.part(|reply| Part::Context { space, reply }).await;
    let context = ByteVec::from(write_context(&context.ok_or(Declined::Failed)?));
    let view = known.placement.ok_or(Declined::Failed)?.view();
    Ok((copy, ByteArray::from(*view.as_bytes()), owns, context))
}

async fn get(shared: &Shared, partition: u16, key: Vec<u8>) -> Result<Said, Declined> {
    let (copy, view, owns, context) = readable(shared, partition).await?;
    let read = move || map::get(&items(), &key, copy.shelf(), copy.names());
    let elements = blocking(shared, read).await?.map_err(|_| Declined::Failed)?;
    let elements = ByteVec::from(write_elements(&elements));
    Ok(Said::Answer { view, owns, context, elements })
}

async fn scan(
    shared: &Shared,
    partition: u16,
    from: Vec<u8>,
    limit: usize,
) -> Result<Said, Declined> {
    let (copy, view, owns, context) = readable(shared, partition).await?;
    let read = move || {
        let mut page = (Vec::new(), false);
        let mut bytes = 0;
        for item in map::scan(&items(), Keys::From(&from), copy.shelf()) {
            let (key, alive) = item?;
            let elements = write_elements(&alive.elements(copy.shelf(), copy.names())?);
            let is_full = page.0.len() == limit || bytes + elements.len() > MAX_PAGE;
            if is_full && !page.0.is_empty() {
                page.1 = true;
                break;
            }
            bytes += key.len() + elements.len();
            page.0.push((ByteVec::from(key), ByteVec::from(elements)));
        }
        Ok::<_, aether_store::ReadError>(page)
    };
    let (keys, more) = blocking(shared, read).await?.map_err(|_| Declined::Failed)?;
    Ok(Said::Page { view, owns, context, keys, more })
}

/// Reads from the disk where that holds nobody up.
async fn blocking<T: Send + 'static>(
    shared: &Shared,
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Declined> {
    shared.control.runtime().spawn_blocking(read).await.map_err(|_| Declined::Failed)
}

async fn compare(
    shared: &Shared,
    from: PublicKey,
    partition: u16,
    view: Hash,
    rows: &[ByteVec],
) -> Result<Said, Declined> {
    let rows = read_all_rows(rows).ok_or(Declined::Failed)?;
    let before = shared.known();
    let copy = shared.copy(partition);
    let space = copy.as_ref().map(Space::id);
    let covers = match space {
        Some(space) => shared.part(|reply| Part::Covers { space, rows, reply }).await,
        None => None,
    };
    let after = shared.known();
    // Custody is claimed only by who owned the partition all the while.
    let owns = |role| matches!(role, Role::Owner { .. });
    let owns = owns(before.role(partition)) && owns(after.role(partition));
    let is_same = after.placement.is_some_and(|placement| placement.view() == view);
    if let (Some((false, _)), Some(space)) = (covers, space) {
        shared.tell(Part::Compare { space, peer: from }).await;
    }
    Ok(Said::Compared {
        same_view: is_same,
        owns,
        has_copy: covers.is_some(),
        covers_yours: covers.is_some_and(|(covers, _)| covers),
        covers_mine: covers.is_some_and(|(_, covered)| covered),
    })
}

//! The keeper's driver: one task for each map that is open.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aether_core::{Protocol as _, PublicKey};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc, oneshot},
    task::JoinSet,
};

use super::hub::{Known, Shared};
use crate::{
    Space,
    driver::Part,
    proto::{
        entry::Collection,
        id::SpaceId,
        map::{Action, Edit},
        partitions::{
            Ask, Comparison, Keeper, Placement, Said, Standing, genesis_of,
            keeper::{Config, Input, Output},
            placement::members,
        },
    },
};

/// How long a member may take to compare.
const PATIENCE: Duration = Duration::from_secs(5);

struct Keeping {
    shared: Arc<Shared>,
    keeper: Keeper,
    /// What was begun, and what it comes to.
    begun: JoinSet<Option<Input>>,
    /// Whether copies from before were looked for.
    is_begun: bool,
}

/// Runs until it is aborted, or the control space is left.
pub(super) async fn run(shared: Arc<Shared>, mut hints: mpsc::Receiver<u16>) {
    let mut told = shared.control.told();
    let keeper = Keeper::new(Config::default(), shared.me);
    let mut keeping = Keeping { shared, keeper, begun: JoinSet::new(), is_begun: false };
    keeping.look().await;
    loop {
        let shared = &keeping.shared;
        let now = shared.now();
        let wait = keeping.keeper.poll_timeout().map(|at| at.since(now));
        let wait = wait.unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            Some(input) = keeping.begun.join_next(), if !keeping.begun.is_empty() => {
                if let Ok(Some(input)) = input {
                    keeping.handle(input).await;
                }
            }
            Some(partition) = hints.recv() => keeping.handle(Input::Opened { partition }).await,
            news = told.recv() => {
                if matches!(news, Err(RecvError::Closed)) || keeping.shared.control.is_left() {
                    return;
                }
                // What came meanwhile is seen by one look.
                while told.try_recv().is_ok() {}
                keeping.look().await;
            }
            () = tokio::time::sleep(wait) => keeping.handle(Input::Timeout).await,
        }
    }
}

impl Keeping {
    /// Looks at the settings and the list of members.
    async fn look(&mut self) {
        let control = &self.shared.control;
        let read = Placement::read(control.id(), control.shelf(), control.names());
        let placement = match read {
            Ok(Some(placement)) => placement,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the control space of a map can't be read");
                return;
            }
        };
        if !std::mem::replace(&mut self.is_begun, true) {
            self.open_again(&placement).await;
        }
        self.handle(Input::View(Box::new(placement))).await;
    }

    /// Takes up the copies that are here from before.
    async fn open_again(&mut self, placement: &Placement) {
        let genesis = self.shared.control.genesis();
        let numbers: BTreeMap<SpaceId, u16> =
            placement.partitions().map(|n| (genesis_of(genesis, n).space_id(), n)).collect();
        let spaces = numbers.keys().copied().collect();
        let here = self.shared.part(|reply| Part::Here { spaces, reply }).await;
        for opened in here.unwrap_or_default() {
            let copy = Space::new(Arc::clone(&self.shared.inner), opened);
            if let Some(partition) = numbers.get(&copy.id()).copied() {
                self.shared.keep(partition, copy);
                self.handle(Input::Opened { partition }).await;
            }
        }
    }

    async fn handle(&mut self, input: Input) {
        let dropped = match input {
            Input::Dropped { partition } => Some(partition),
            _ => None,
        };
        self.keeper.handle(self.shared.now(), input);
        // A hint may have opened another copy meanwhile.
        if let Some(partition) = dropped.filter(|partition| !self.shared.forget(*partition)) {
            self.keeper.handle(self.shared.now(), Input::Opened { partition });
        }
        // Roles are known before anybody hears of what follows from them.
        self.publish();
        while let Some(output) = self.keeper.poll_output() {
            self.act(output).await;
        }
        self.go();
    }

    fn publish(&self) {
        let placement = self.keeper.placement();
        let partitions = placement.map_or(0..0, Placement::partitions);
        let roles = partitions.map(|partition| self.keeper.role(partition)).collect();
        self.shared.known.send_modify(|known| {
            let is_same = known.placement.as_deref() == placement;
            *known = Known {
                placement: match is_same {
                    true => known.placement.take(),
                    false => placement.cloned().map(Arc::new),
                },
                roles: Arc::new(roles),
                progress: self.keeper.progress(),
            };
        });
    }

    /// Who has handed over all that it had leaves the list.
    fn go(&mut self) {
        let Some(placement) = self.keeper.placement() else { return };
        let progress = self.keeper.progress();
        let is_leaving = placement.members().get(&self.shared.me) == Some(&Standing::Leaving);
        if !is_leaving || progress.owned + progress.parting > 0 {
            return;
        }
        let (shared, me) = (Arc::clone(&self.shared), self.shared.me);
        self.begun.spawn(async move {
            if let Err(error) = set_standing(&shared.control, me, None).await {
                tracing::warn!(%error, "a member that left stays in the list");
            }
            None
        });
    }

    async fn act(&mut self, output: Output) {
        let shared = Arc::clone(&self.shared);
        match output {
            Output::Open { partition } => drop(self.begun.spawn(async move {
                match open(&shared, partition).await {
                    Ok(_) => Some(Input::Opened { partition }),
                    Err(error) => {
                        tracing::error!(%error, partition, "a partition can't be opened");
                        Some(Input::NotOpened { partition })
                    }
                }
            })),
            Output::Ask { partition, peer, epoch } => drop(self.begun.spawn(async move {
                let said = compare(&shared, partition, peer).await;
                Some(match said {
                    Some(said) => Input::Said { partition, from: peer, epoch, said },
                    None => Input::Unreached { partition, from: peer, epoch },
                })
            })),
            Output::Compare { partition, peer } => {
                self.tell(partition, |space| Part::Compare { space, peer }).await;
            }
            Output::Freeze { partition } => {
                let (reply, frozen) = oneshot::channel();
                self.tell(partition, |space| Part::Freeze { space, reply }).await;
                self.begun.spawn(async move {
                    Some(match frozen.await {
                        Ok(digest) => Input::Frozen { partition, digest },
                        Err(_) => Input::Kept { partition },
                    })
                });
            }
            Output::Thaw { partition } => {
                self.tell(partition, |space| Part::Thaw { space }).await;
            }
            Output::Drop { partition, digest } => {
                let (reply, dropped) = oneshot::channel();
                self.tell(partition, |space| Part::Drop { space, digest, reply }).await;
                self.begun.spawn(async move {
                    Some(match dropped.await {
                        Ok(Ok(())) => Input::Dropped { partition },
                        Ok(Err(_)) | Err(_) => Input::Kept { partition },
                    })
                });
            }
        }
    }

    /// Tells the driver something of a copy, after all that it was told before.
    async fn tell(&self, partition: u16, part: impl FnOnce(SpaceId) -> Part) {
        if let Some(copy) = self.shared.copy(partition) {
            self.shared.tell(part(copy.id())).await;
        }
    }
}

/// Opens a partition's space on this node.
pub(super) async fn open(shared: &Shared, partition: u16) -> Result<Space, crate::OpenError> {
    let genesis = genesis_of(shared.control.genesis(), partition);
    let opened = shared.part(|reply| Part::Open { genesis, reply }).await;
    let opened = opened.unwrap_or(Err(crate::OpenError::Closed))?;
    let copy = Space::new(Arc::clone(&shared.inner), opened);
    shared.keep(partition, copy.clone());
    Ok(copy)
}

/// Asks a member to compare its copy with what is held here.
async fn compare(shared: &Arc<Shared>, partition: u16, peer: PublicKey) -> Option<Comparison> {
    let space = shared.copy(partition)?.id();
    let (rows, digest) = shared.part(|reply| Part::Rows { space, reply }).await?;
    let view = shared.known().placement?.view();
    let ask = Ask::compare(partition, &view, &rows);
    let said = shared.ask(peer, &ask, shared.now() + PATIENCE).await?;
    let Said::Compared { same_view, owns, has_copy, covers_yours, covers_mine } = said else {
        return None;
    };
    let (covers_ours, covers_theirs) = (covers_yours, covers_mine);
    Some(Comparison { same_view, owns, has_copy, covers_ours, covers_theirs, digest })
}

/// Writes how a member stands into the control space; none takes it from the list.
pub(super) async fn set_standing(
    control: &Space,
    member: PublicKey,
    standing: Option<Standing>,
) -> Result<(), super::PartitionError> {
    let action = standing.map_or(Action::Remove, |standing| Action::Put(vec![standing.to_byte()]));
    set(control, members(), member.as_bytes().to_vec(), action).await
}

/// Writes to a collection of the control space, past types.
pub(super) async fn set(
    control: &Space,
    collection: Collection,
    key: Vec<u8>,
    action: Action,
) -> Result<(), super::PartitionError> {
    control.edit(vec![Edit::new(collection, key, action)?]).await?;
    Ok(())
}

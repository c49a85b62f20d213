//! Taking in what a user of this node offers, who has it from an archive. See rule 1 of the
//! [module](super).

use aether_core::Time;

use super::{
    Replica,
    intake::Broken,
    types::{Fault, Intake, Offered, Output},
};
use crate::proto::{archive::Record, entry::Header, feed::Evidence, rows::Base};

impl<B: Base> Replica<B> {
    pub(super) fn offer_all(
        &mut self,
        now: Time,
        token: u64,
        records: Vec<Record>,
    ) -> Result<(), B::Error> {
        let mut offered = Offered::default();
        for (place, record) in records.into_iter().enumerate() {
            let count = match self.offer_one(now, record) {
                Ok(Some(true)) => &mut offered.taken,
                Ok(Some(false)) => &mut offered.known,
                Ok(None) => &mut offered.left,
                Err(Broken::Rows(error)) => return Err(error),
                Err(Broken::Fault(fault)) => {
                    offered.fault = Some((place, fault));
                    break;
                }
            };
            *count += 1;
        }
        self.batch.offered.push((token, offered));
        Ok(())
    }

    /// Whether a record is held now, and wasn't before; nothing if it isn't held.
    fn offer_one(&mut self, now: Time, record: Record) -> Result<Option<bool>, Broken<B::Error>> {
        match record {
            Record::Entry { header, payload } => match self.look(now, &header, payload)? {
                Intake::Taken(id, placed) if placed.is_kept() => {
                    self.batch.foreign = true;
                    // This node's own hand, and not from its disk.
                    self.outrun(id.feed);
                    Ok(Some(true))
                }
                // It is kept once its chain is whole.
                Intake::Staged => Ok(Some(true)),
                Intake::Known(_) => Ok(Some(false)),
                Intake::Taken(..) | Intake::Not => Ok(None),
            },
            Record::Evidence { first, second } => {
                let feed = Header::decode(&first).map_err(|_| Fault::Malformed)?.feed();
                let known = |replica: &Self| -> Option<Option<Evidence>> {
                    Some(replica.book.known(&feed)?.feed().evidence())
                };
                let before = known(self);
                self.on_evidence(&first, &second)?;
                Ok(before.map(|before| known(self) != Some(before)))
            }
            // It is kept with the entry behind it, if that needs it.
            Record::Credential { header } => self.on_credential(&header).map(|()| Some(false)),
        }
    }

    fn look(
        &mut self,
        now: Time,
        header: &[u8],
        payload: Vec<u8>,
    ) -> Result<Intake, Broken<B::Error>> {
        match self.is_staging(header) {
            Some(header) => self.stage(header, payload),
            None => self.offer(now, header, payload),
        }
    }

    /// Says what became of what was offered.
    pub(super) fn offered(&mut self, offered: Vec<(u64, Offered)>) {
        let offered = offered.into_iter();
        self.outputs.extend(offered.map(|(token, offered)| Output::Offered { token, offered }));
    }
}

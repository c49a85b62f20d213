//! Our own instances, and when they are announced.
//!
//! Rules 2 and 4 of the [directory](super).

use std::collections::BTreeMap;

use aether_core::Time;

use super::{
    Announcement, Config, Directory, Health, Instance, Load, Output, Refusal,
    announcement::check_offer,
};

#[derive(Debug, Default)]
pub(super) struct Own {
    instances: BTreeMap<String, BTreeMap<u64, Instance>>,
    /// The last one and when it was signed.
    pub(super) announced: Option<(Announcement, Time)>,
    refresh: Time,
    stopped: bool,
}

impl Own {
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().flat_map(BTreeMap::values)
    }

    pub(super) fn instances_of<'a>(
        &'a self,
        service: &str,
    ) -> impl Iterator<Item = &'a Instance> + use<'a> {
        self.instances.get(service).into_iter().flat_map(BTreeMap::values)
    }

    /// When there is something to announce.
    pub(super) fn timeout(&self, config: &Config) -> Option<Time> {
        let (announced, at) = self.announced.as_ref()?;
        let refresh = (!announced.instances.is_empty()).then_some(self.refresh);
        let load = self.is_load_far().then(|| *at + config.load_interval);
        refresh.into_iter().chain(load).min()
    }

    fn get_mut(&mut self, service: &str, id: u64) -> Option<&mut Instance> {
        self.instances.get_mut(service)?.get_mut(&id)
    }

    /// Whether some load is more than a quarter from what was announced.
    fn is_load_far(&self) -> bool {
        let announced = self.announced.iter().flat_map(|(announced, _)| &announced.instances);
        // Both are in order of service and id, and hold the same instances.
        self.instances()
            .zip(announced)
            .any(|(own, announced)| own.load.is_far_from(&announced.load))
    }
}

impl Directory {
    pub(super) fn serve(&mut self, instance: Instance) {
        let (service, id) = (instance.service.clone(), instance.id);
        let known = self.own.get_mut(&service, id).map(|known| known.clone());
        if known.as_ref().is_some_and(|known| known.is_like(&instance)) {
            self.on_load(service, id, instance.load);
            return;
        }
        let others = self.own.instances().filter(|other| other.place() != instance.place());
        let fits = check_offer(others.chain([&instance])).map_err(Refusal::from);
        let fits = if self.own.stopped { Err(Refusal::Stopped) } else { fits };
        if let Err(reason) = fits {
            self.outputs.push_back(Output::Refused { service, id, reason });
            return;
        }
        if !self.own.instances.contains_key(&service) {
            self.outputs.push_back(Output::Provide { service: service.clone() });
        }
        self.own.instances.entry(service.clone()).or_default().insert(id, instance);
        self.announce();
        self.outputs.push_back(Output::Changed { service });
    }

    pub(super) fn on_load(&mut self, service: String, id: u64, load: Load) {
        if let Some(instance) = self.own.get_mut(&service, id) {
            instance.load = load;
            self.announce_if_due();
        }
    }

    pub(super) fn end(&mut self, service: String, id: u64) {
        let Some(instances) = self.own.instances.get_mut(&service) else { return };
        if instances.remove(&id).is_none() {
            return;
        }
        if instances.is_empty() {
            self.own.instances.remove(&service);
            self.outputs.push_back(Output::StopProviding { service: service.clone() });
        }
        self.announce();
        self.outputs.push_back(Output::Changed { service });
    }

    pub(super) fn drain(&mut self) {
        let mut changed = Vec::new();
        for (service, instances) in &mut self.own.instances {
            let serving = instances.values_mut().filter(|each| each.health != Health::Draining);
            if serving.map(|instance| instance.health = Health::Draining).count() > 0 {
                changed.push(Output::Changed { service: service.clone() });
            }
        }
        if !changed.is_empty() {
            self.announce();
            self.outputs.extend(changed);
        }
    }

    pub(super) fn stop(&mut self) {
        self.own.stopped = true;
        let services = std::mem::take(&mut self.own.instances);
        if services.is_empty() {
            return;
        }
        self.announce();
        for service in services.into_keys() {
            self.outputs.push_back(Output::StopProviding { service: service.clone() });
            self.outputs.push_back(Output::Changed { service });
        }
    }

    pub(super) fn announce_if_due(&mut self) {
        if self.own.timeout(&self.config).is_some_and(|due| due <= self.now) {
            self.announce();
        }
    }

    fn announce(&mut self) {
        let revision = self.own.announced.as_ref().map_or(1, |(last, _)| last.revision + 1);
        let version = (self.life, revision, self.wall);
        let instances = self.own.instances().cloned().collect();
        let announcement = Announcement::sign(&self.key, &self.mesh, version, instances);
        let announcement = announcement.expect("what is served was checked to fit");
        self.outputs.push_back(Output::Announce(announcement.bytes().clone()));
        self.own.announced = Some((announcement, self.now));
        self.own.refresh = self.now + self.jittered(self.config.refresh);
    }
}

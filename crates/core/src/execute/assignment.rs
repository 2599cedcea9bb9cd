//! Which build backend takes the next image.
//!
//! Backends have places, as many as they work on at a time. An image goes to the one that is used the
//! least, in proportion, of those that can build for its platform. Among equals one goes first that has
//! built something which the image needs, because its layers are there, then the order of the
//! configuration counts. A backend that is lost gets nothing any more.
//!
//! An image whose build runs no command goes to a backend that assembles, if there is one for its platform,
//! and waits for it: what is assembled is the same wherever it is done.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use dockit_registry::Platform;

/// How much a backend can do.
#[derive(Clone, Debug)]
pub(super) struct Capacity {
    /// How many images at a time.
    pub(super) jobs: NonZeroUsize,
    /// For which platforms; empty: for any, as far as anybody knows.
    pub(super) platforms: BTreeSet<Platform>,
    /// Whether it builds images whose build runs commands.
    pub(super) commands: bool,
}

/// What the build of an image takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants<'a> {
    /// For this platform.
    pub(super) platform: &'a Platform,
    /// Whether it runs commands.
    pub(super) commands: bool,
}

/// What each backend is doing. Backends are known by their position.
#[derive(Debug)]
pub(super) struct Assignment {
    backends: Vec<Pool>,
    /// Images that are there already and brought into this machine's engine; none where they take the
    /// places of the only backend.
    loads: Option<Pool>,
}

#[derive(Debug)]
struct Pool {
    capacity: Capacity,
    running: usize,
    lost: bool,
}

/// What an image that is worked on takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One of a backend's.
    Backend(usize),
    /// One of those for what is brought into this machine's engine.
    Load,
}

impl Assignment {
    /// Nothing is being done yet. `loads` is how many images are brought into this machine's engine at a
    /// time, where there are several backends.
    pub(super) fn new(backends: Vec<Capacity>, loads: NonZeroUsize) -> Self {
        let pool = |capacity| Pool { capacity, running: 0, lost: false };
        let several = backends.len() > 1;
        let loads = Capacity { jobs: loads, platforms: BTreeSet::new(), commands: true };
        let loads = several.then(|| pool(loads));
        Self { backends: backends.into_iter().map(pool).collect(), loads }
    }

    /// A free place of the backend that is to build this; `near` have built something that the image
    /// needs.
    pub(super) fn for_build(&self, wants: Wants<'_>, near: &BTreeSet<usize>) -> Option<Place> {
        let assembles = |pool: &Pool| !pool.capacity.commands && pool.builds(wants);
        let assembled = self.backends.iter().any(assembles);
        let free = self.backends.iter().enumerate();
        let free = free.filter(|(_, pool)| {
            pool.builds(wants) && pool.is_free() && (!assembled || assembles(pool))
        });
        let chosen = free.min_by(|(one, first), (other, second)| {
            // Fractions are compared without dividing.
            let load = |a: &Pool, b: &Pool| a.running * b.capacity.jobs.get();
            load(first, second)
                .cmp(&load(second, first))
                .then_with(|| near.contains(other).cmp(&near.contains(one)))
                .then_with(|| one.cmp(other))
        });
        chosen.map(|(position, _)| Place::Backend(position))
    }

    /// A free place for what is only brought into this machine's engine.
    pub(super) fn for_load(&self) -> Option<Place> {
        match &self.loads {
            Some(loads) => loads.is_free().then_some(Place::Load),
            None => self.backends.first()?.is_free().then_some(Place::Backend(0)),
        }
    }

    pub(super) fn begin(&mut self, place: Place) {
        self.pool(place).running += 1;
    }

    pub(super) fn end(&mut self, place: Place) {
        self.pool(place).running -= 1;
    }

    /// Takes a backend out; whether it was in before.
    pub(super) fn lose(&mut self, backend: usize) -> bool {
        !std::mem::replace(&mut self.backends[backend].lost, true)
    }

    /// Whether any backend that is left builds this.
    pub(super) fn can_build(&self, wants: Wants<'_>) -> bool {
        self.backends.iter().any(|pool| pool.builds(wants))
    }

    /// Whether no backend is left that would run commands, or not, as this build does.
    pub(super) fn all_lost(&self, wants: Wants<'_>) -> bool {
        let suited = self.backends.iter().filter(|pool| pool.capacity.commands || !wants.commands);
        suited.clone().next().is_some() && suited.clone().all(|pool| pool.lost)
    }

    /// Whether there was a backend that runs commands.
    pub(super) fn knows_commands(&self) -> bool {
        self.backends.iter().any(|pool| pool.capacity.commands)
    }

    fn pool(&mut self, place: Place) -> &mut Pool {
        match (place, &mut self.loads) {
            (Place::Load, Some(loads)) => loads,
            (Place::Load, None) => &mut self.backends[0],
            (Place::Backend(position), _) => &mut self.backends[position],
        }
    }
}

impl Pool {
    fn builds(&self, wants: Wants<'_>) -> bool {
        let Capacity { platforms, commands, .. } = &self.capacity;
        !self.lost
            && (*commands || !wants.commands)
            && (platforms.is_empty() || platforms.contains(wants.platform))
    }

    fn is_free(&self) -> bool {
        self.running < self.capacity.jobs.get()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn platform(number: usize) -> Platform {
        ["linux/amd64", "linux/arm64", "linux/riscv64"][number].parse().unwrap()
    }

    fn capacity(jobs: usize, platforms: &[usize]) -> Capacity {
        let platforms = platforms.iter().map(|number| platform(*number)).collect();
        Capacity { jobs: NonZeroUsize::new(jobs).unwrap(), platforms, commands: true }
    }

    /// Of one that builds nothing which runs commands.
    fn assembling(jobs: usize, platforms: &[usize]) -> Capacity {
        Capacity { commands: false, ..capacity(jobs, platforms) }
    }

    fn running(platform: &Platform) -> Wants<'_> {
        Wants { platform, commands: true }
    }

    fn still(platform: &Platform) -> Wants<'_> {
        Wants { platform, commands: false }
    }

    fn backend(place: Option<Place>) -> Option<usize> {
        match place? {
            Place::Backend(position) => Some(position),
            Place::Load => None,
        }
    }

    #[test]
    fn the_least_used_in_proportion_builds_then_the_nearest_then_the_first() {
        let one = NonZeroUsize::MIN;
        let capacities = vec![capacity(2, &[]), capacity(4, &[0]), capacity(2, &[0, 1])];
        let mut assignment = Assignment::new(capacities, one);
        let nobody = BTreeSet::new();
        let (amd64, arm64) = (platform(0), platform(1));
        assert_eq!(backend(assignment.for_build(running(&amd64), &nobody)), Some(0));
        assert_eq!(backend(assignment.for_build(running(&amd64), &[2].into())), Some(2));
        assert_eq!(backend(assignment.for_build(running(&arm64), &[1].into())), Some(0));
        assignment.begin(Place::Backend(0));
        assignment.begin(Place::Backend(1));
        assert_eq!(backend(assignment.for_build(running(&amd64), &[0].into())), Some(2));
        assignment.begin(Place::Backend(2));
        // One of four is less than one of two, however near.
        assert_eq!(backend(assignment.for_build(running(&amd64), &[0].into())), Some(1));
        assert!(assignment.lose(1) && !assignment.lose(1));
        assert_eq!(backend(assignment.for_build(running(&amd64), &[2].into())), Some(2));
        assignment.lose(0);
        assert!(
            assignment.can_build(running(&arm64)) && !assignment.can_build(running(&platform(2)))
        );
        assignment.begin(Place::Backend(2));
        assert_eq!(assignment.for_build(running(&amd64), &nobody), None);
        assert!(assignment.can_build(running(&amd64)), "when it is done");
    }

    #[test]
    fn what_is_only_loaded_takes_a_place_of_the_only_backend_and_of_none_among_several() {
        let two = NonZeroUsize::new(2).unwrap();
        let mut only = Assignment::new(vec![capacity(1, &[])], two);
        assert_eq!(only.for_load(), Some(Place::Backend(0)));
        only.begin(Place::Backend(0));
        assert_eq!(only.for_load(), None);
        let mut several = Assignment::new(vec![capacity(1, &[]), capacity(1, &[])], two);
        for _ in 0..2 {
            assert_eq!(several.for_load(), Some(Place::Load));
            several.begin(Place::Load);
        }
        assert_eq!(several.for_load(), None);
        several.end(Place::Load);
        assert_eq!(several.for_load(), Some(Place::Load));
        assert!(several.for_build(running(&platform(0)), &BTreeSet::new()).is_some());
    }

    #[test]
    fn what_runs_no_command_waits_for_what_assembles() {
        let nobody = BTreeSet::new();
        let capacities = vec![capacity(4, &[]), assembling(1, &[0])];
        let mut assignment = Assignment::new(capacities, NonZeroUsize::MIN);
        let (amd64, arm64) = (platform(0), platform(1));
        assert_eq!(backend(assignment.for_build(running(&amd64), &[1].into())), Some(0));
        assert_eq!(backend(assignment.for_build(still(&amd64), &[0].into())), Some(1));
        // Nothing here assembles for it.
        assert_eq!(backend(assignment.for_build(still(&arm64), &nobody)), Some(0));
        assignment.begin(Place::Backend(1));
        assert_eq!(assignment.for_build(still(&amd64), &nobody), None);
        assert!(assignment.can_build(still(&amd64)), "when it is done");
        assignment.end(Place::Backend(1));
        assignment.lose(0);
        assert!(!assignment.can_build(running(&amd64)) && assignment.can_build(still(&amd64)));
        assert!(assignment.all_lost(running(&amd64)) && !assignment.all_lost(still(&amd64)));
        let alone = Assignment::new(vec![assembling(1, &[])], NonZeroUsize::MIN);
        assert!(!alone.knows_commands() && !alone.can_build(running(&arm64)));
        assert!(!alone.all_lost(running(&arm64)), "there was none");
    }

    /// What happens in a run: an image begins, one of those that run ends, a backend is lost.
    #[derive(Clone, Debug)]
    enum Happens {
        Begins(usize, BTreeSet<usize>),
        Ends(prop::sample::Index),
        Lost(prop::sample::Index),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            6 => (0..3_usize, prop::collection::btree_set(0..4_usize, 0..3))
                .prop_map(|(platform, near)| Happens::Begins(platform, near)),
            4 => any::<prop::sample::Index>().prop_map(Happens::Ends),
            1 => any::<prop::sample::Index>().prop_map(Happens::Lost),
        ]
    }

    proptest! {
        #[test]
        fn no_backend_has_too_much_and_none_idles_while_something_fits(
            backends in vec((1..4_usize, vec(0..3_usize, 0..3)), 1..5),
            events in vec(happens(), 0..60),
        ) {
            let capacities: Vec<Capacity> =
                backends.iter().map(|(jobs, platforms)| capacity(*jobs, platforms)).collect();
            let mut assignment = Assignment::new(capacities.clone(), NonZeroUsize::MIN);
            let mut busy: Vec<usize> = Vec::new();
            let mut lost = BTreeSet::new();
            let count = |busy: &[usize], one: usize| busy.iter().filter(|it| **it == one).count();
            for event in events {
                match event {
                    Happens::Begins(number, near) => {
                        let platform = platform(number);
                        let builds = |one: usize| {
                            let platforms = &capacities[one].platforms;
                            !lost.contains(&one) && (platforms.is_empty() || platforms.contains(&platform))
                        };
                        let fits = |one: usize| {
                            builds(one) && count(&busy, one) < capacities[one].jobs.get()
                        };
                        let all = 0..capacities.len();
                        prop_assert_eq!(assignment.can_build(running(&platform)), all.clone().any(builds));
                        match backend(assignment.for_build(running(&platform), &near)) {
                            None => prop_assert!(!all.clone().any(fits), "something idles"),
                            Some(chosen) => {
                                prop_assert!(fits(chosen));
                                let load = |one: usize| {
                                    count(&busy, one) as f64 / capacities[one].jobs.get() as f64
                                };
                                let least = all.filter(|one| fits(*one)).all(|one| {
                                    load(chosen) <= load(one) + 1e-9
                                });
                                prop_assert!(least, "{chosen} is used more than another");
                                assignment.begin(Place::Backend(chosen));
                                busy.push(chosen);
                            }
                        }
                    }
                    Happens::Ends(index) if !busy.is_empty() => {
                        let ended = busy.swap_remove(index.index(busy.len()));
                        assignment.end(Place::Backend(ended));
                    }
                    Happens::Ends(_) => {}
                    Happens::Lost(index) => {
                        let one = index.index(capacities.len());
                        prop_assert_eq!(assignment.lose(one), lost.insert(one));
                    }
                }
            }
        }
    }
}

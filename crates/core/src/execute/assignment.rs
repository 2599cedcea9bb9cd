//! Which build backend takes the next image.
//!
//! Backends have places, as many as they work on at a time. An image goes to the one that is used the
//! least, in proportion, of those that can build for its platform. Among equals one goes first that has
//! built something which the image needs, because its layers are there, then the order of the
//! configuration counts. A backend that is lost gets nothing any more.

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
        let loads = several.then(|| pool(Capacity { jobs: loads, platforms: BTreeSet::new() }));
        Self { backends: backends.into_iter().map(pool).collect(), loads }
    }

    /// A free place of the backend that is to build for this platform; `near` have built something that
    /// the image needs.
    pub(super) fn for_build(&self, platform: &Platform, near: &BTreeSet<usize>) -> Option<Place> {
        let free = self.backends.iter().enumerate();
        let free = free.filter(|(_, pool)| pool.builds(platform) && pool.is_free());
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

    /// Whether any backend that is left builds for this platform.
    pub(super) fn can_build(&self, platform: &Platform) -> bool {
        self.backends.iter().any(|pool| pool.builds(platform))
    }

    /// Whether no backend is left at all.
    pub(super) fn all_lost(&self) -> bool {
        self.backends.iter().all(|pool| pool.lost)
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
    fn builds(&self, platform: &Platform) -> bool {
        let platforms = &self.capacity.platforms;
        !self.lost && (platforms.is_empty() || platforms.contains(platform))
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
        Capacity { jobs: NonZeroUsize::new(jobs).unwrap(), platforms }
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
        assert_eq!(backend(assignment.for_build(&amd64, &nobody)), Some(0));
        assert_eq!(backend(assignment.for_build(&amd64, &[2].into())), Some(2));
        assert_eq!(backend(assignment.for_build(&arm64, &[1].into())), Some(0));
        assignment.begin(Place::Backend(0));
        assignment.begin(Place::Backend(1));
        assert_eq!(backend(assignment.for_build(&amd64, &[0].into())), Some(2));
        assignment.begin(Place::Backend(2));
        // One of four is less than one of two, however near.
        assert_eq!(backend(assignment.for_build(&amd64, &[0].into())), Some(1));
        assert!(assignment.lose(1) && !assignment.lose(1));
        assert_eq!(backend(assignment.for_build(&amd64, &[2].into())), Some(2));
        assignment.lose(0);
        assert!(assignment.can_build(&arm64) && !assignment.can_build(&platform(2)));
        assignment.begin(Place::Backend(2));
        assert_eq!(assignment.for_build(&amd64, &nobody), None);
        assert!(assignment.can_build(&amd64), "when it is done");
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
        assert!(several.for_build(&platform(0), &BTreeSet::new()).is_some());
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
            let mut running: Vec<usize> = Vec::new();
            let mut lost = BTreeSet::new();
            let count = |running: &[usize], one: usize| running.iter().filter(|it| **it == one).count();
            for event in events {
                match event {
                    Happens::Begins(number, near) => {
                        let platform = platform(number);
                        let builds = |one: usize| {
                            let platforms = &capacities[one].platforms;
                            !lost.contains(&one) && (platforms.is_empty() || platforms.contains(&platform))
                        };
                        let fits = |one: usize| {
                            builds(one) && count(&running, one) < capacities[one].jobs.get()
                        };
                        let all = 0..capacities.len();
                        prop_assert_eq!(assignment.can_build(&platform), all.clone().any(builds));
                        match backend(assignment.for_build(&platform, &near)) {
                            None => prop_assert!(!all.clone().any(fits), "something idles"),
                            Some(chosen) => {
                                prop_assert!(fits(chosen));
                                let load = |one: usize| {
                                    count(&running, one) as f64 / capacities[one].jobs.get() as f64
                                };
                                let least = all.filter(|one| fits(*one)).all(|one| {
                                    load(chosen) <= load(one) + 1e-9
                                });
                                prop_assert!(least, "{chosen} is used more than another");
                                assignment.begin(Place::Backend(chosen));
                                running.push(chosen);
                            }
                        }
                    }
                    Happens::Ends(index) if !running.is_empty() => {
                        let ended = running.swap_remove(index.index(running.len()));
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

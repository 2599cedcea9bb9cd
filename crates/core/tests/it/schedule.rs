//! Whose turn it is, over random graphs and in time that a test makes; and pushes that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dockit_core::PushPolicy;
use dockit_core::backend::{BackendErrorKind, NamedBackend};
use dockit_core::events::{Event, Observer, Silent};
use dockit_core::execute::{ImageErrorKind, RunReport, Status};
use dockit_core::story::{self, Request, Services};
use proptest::prelude::*;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{FakeEngine, MemoryRegistry, TestProject, diamond, image, rival_config};

const MOST: usize = 12;

/// A project, what was changed since everything was built, and how a run goes.
#[derive(Clone, Debug)]
struct Case {
    /// By image: the images before it that it needs.
    needs: Vec<BTreeSet<usize>>,
    seconds: Vec<u64>,
    changed: BTreeSet<usize>,
    broken: BTreeSet<usize>,
    /// None means all.
    selected: BTreeSet<usize>,
    jobs: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    (1..=MOST).prop_flat_map(|images| {
        let some = |most| proptest::collection::btree_set(0..images, 0..=most);
        let needs = proptest::collection::vec(some(3), images);
        let seconds = proptest::collection::vec(1_u64..=20, images);
        (needs, seconds, some(images), some(2), some(3), 1_usize..=4).prop_map(
            |(mut needs, seconds, changed, broken, selected, jobs)| {
                for (image, needs) in needs.iter_mut().enumerate() {
                    needs.retain(|other| *other < image);
                }
                Case { needs, seconds, changed, broken, selected, jobs }
            },
        )
    })
}

fn name(index: usize) -> String {
    format!("i{index}")
}

fn project(case: &Case) -> TestProject {
    let project = TestProject::new(&[]);
    let mut config = String::new();
    for (index, needs) in case.needs.iter().enumerate() {
        let image = name(index);
        config.push_str(&format!("[images.{image}]\n"));
        let mut dockerfile = "FROM scratch\nCOPY file /\n".to_owned();
        for other in needs {
            dockerfile.push_str(&format!("COPY --from={} /file /{other}\n", name(*other)));
        }
        project.write(&format!("{image}/Dockerfile"), &dockerfile);
        project.write(&format!("{image}/file"), &image);
    }
    project.write("dockit.toml", &config);
    project
}

async fn run(project: &TestProject, engine: &FakeEngine<'_>, request: &Request) -> RunReport {
    let registry = MemoryRegistry::default();
    let services = Services {
        registry: &registry,
        engine,
        backends: &[NamedBackend::only(engine)],
        observer: &Silent,
    };
    story::build(&project.load(), request, &services, &CancellationToken::new())
        .await
        .unwrap()
        .report
}

/// How each image of the plan must end, by nothing but the definition of what is affected.
fn expected(case: &Case) -> BTreeMap<String, Status> {
    let images = case.needs.len();
    let mut absent = case.changed.clone();
    for index in 0..images {
        if case.needs[index].iter().any(|other| absent.contains(other)) {
            absent.insert(index);
        }
    }
    let selected: BTreeSet<usize> =
        if case.selected.is_empty() { (0..images).collect() } else { case.selected.clone() };
    let (mut planned, mut built) = (selected.clone(), BTreeSet::new());
    for index in (0..images).rev() {
        let wanted = |other: &usize| case.needs[*other].contains(&index);
        if absent.contains(&index) && (selected.contains(&index) || built.iter().any(wanted)) {
            built.insert(index);
        }
        if planned.iter().any(wanted) {
            planned.insert(index);
        }
    }
    let mut ends = BTreeMap::new();
    for index in planned {
        let lacks = |other: &usize| {
            matches!(ends.get(&name(*other)), Some(Status::Failed | Status::Skipped))
        };
        let status = if !built.contains(&index) {
            if absent.contains(&index) { Status::Skipped } else { Status::Reused }
        } else if case.needs[index].iter().any(lacks) {
            Status::Skipped
        } else if case.broken.contains(&index) {
            Status::Failed
        } else {
            Status::Built
        };
        ends.insert(name(index), status);
    }
    ends
}

type Spans = BTreeMap<String, (Instant, Instant)>;

fn check(case: &Case, report: &RunReport, engine: &FakeEngine<'_>) {
    let ends: BTreeMap<String, Status> =
        report.images.iter().map(|image| (image.image.to_string(), image.status)).collect();
    assert_eq!(ends, expected(case));

    let all = engine.spans.lock().unwrap().clone();
    let spans: Spans =
        all.iter().map(|(name, start, end)| (name.clone(), (*start, *end))).collect();
    assert_eq!(spans.len(), all.len(), "nothing is built twice");
    let worked: BTreeSet<&String> = ends
        .iter()
        .filter(|(_, status)| matches!(status, Status::Built | Status::Failed))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(spans.keys().collect::<BTreeSet<_>>(), worked);
    assert!(engine.pulled.lock().unwrap().is_empty());
    assert!(engine.most_running.load(Ordering::SeqCst) <= case.jobs);

    let mut chains = BTreeMap::new();
    for (index, needs) in case.needs.iter().enumerate() {
        let Some((start, end)) = spans.get(&name(index)) else {
            continue;
        };
        let mut before = 0.0_f64;
        for other in needs {
            if let Some((_, ended)) = spans.get(&name(*other)) {
                assert!(ended <= start, "{other} ends before {index} begins");
                before = before.max(chains[other]);
            }
        }
        chains.insert(index, before + (*end - *start).as_secs_f64());
    }
    // Graham's bound for whoever never lets a job idle while something is ready.
    let (Some(first), Some(last)) =
        (spans.values().map(|(start, _)| *start).min(), spans.values().map(|(_, end)| *end).max())
    else {
        return;
    };
    let jobs = case.jobs as f64;
    let total: f64 = spans.values().map(|(start, end)| (*end - *start).as_secs_f64()).sum();
    let chain = chains.values().copied().fold(0.0, f64::max);
    let makespan = (last - first).as_secs_f64();
    let bound = total / jobs + chain * (1.0 - 1.0 / jobs);
    // Tokio's clock counts whole milliseconds.
    assert!(makespan <= bound + 0.1, "{makespan} s with {case:?}, at most {bound} s");
    for image in &report.images {
        if let Some((start, end)) = spans.get(image.image.as_str()) {
            let seconds = (*end - *start).as_secs_f64();
            assert!((image.seconds - seconds).abs() < 0.1, "{image:?} took {seconds} s");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_are_built_as_they_should(case in cases()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let project = project(&case);
            let first = FakeEngine::default();
            let jobs = NonZeroUsize::new(case.jobs).unwrap();
            let request = Request { jobs, ..Request::default() };
            run(&project, &first, &request).await;
            for index in &case.changed {
                project.write(&format!("{}/file", name(*index)), "changed");
            }
            let engine = FakeEngine {
                store: first.store,
                broken: case
                    .broken
                    .iter()
                    .map(|index| (name(*index), BackendErrorKind::Build))
                    .collect(),
                build_times: (0..case.needs.len())
                    .map(|index| (name(index), Duration::from_secs(case.seconds[index])))
                    .collect(),
                ..FakeEngine::default()
            };
            let images = case.selected.iter().map(|index| name(*index)).collect();
            let report = run(&project, &engine, &Request { images, ..request }).await;
            check(&case, &report, &engine);

            // What is repaired is built, and nothing else.
            let repaired = FakeEngine { store: engine.store, ..FakeEngine::default() };
            let images = case.selected.iter().map(|index| name(*index)).collect();
            let request = Request { images, jobs, ..Request::default() };
            let again = run(&project, &repaired, &request).await;
            let left = |report: &RunReport, statuses: &[Status]| -> BTreeSet<String> {
                let images = report.images.iter();
                let left = images.filter(|image| statuses.contains(&image.status));
                left.filter(|image| {
                    image.status != Status::Skipped || image.error.is_some()
                })
                .map(|image| image.image.to_string())
                .collect()
            };
            assert_eq!(
                left(&again, &[Status::Built]),
                left(&report, &[Status::Failed, Status::Skipped])
            );
        });
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_chain_begins_first() {
    let case = Case {
        // Three that stand alone, and behind them a chain of three.
        needs: vec![[].into(), [].into(), [].into(), [].into(), [3].into(), [4].into()],
        seconds: vec![10; 6],
        changed: BTreeSet::new(),
        broken: BTreeSet::new(),
        selected: BTreeSet::new(),
        jobs: 2,
    };
    let engine = FakeEngine { build_time: Duration::from_secs(10), ..FakeEngine::default() };
    let start = Instant::now();
    run(&project(&case), &engine, &Request::default()).await;
    // In the order of the plan it would be 40.
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn what_is_skipped_names_the_failure_that_is_behind_it() {
    let case = Case {
        needs: vec![[].into(), [0].into(), [1].into(), [0].into()],
        seconds: vec![1; 4],
        changed: BTreeSet::new(),
        broken: BTreeSet::new(),
        selected: BTreeSet::new(),
        jobs: 1,
    };
    let broken = BTreeMap::from([("i0".to_owned(), BackendErrorKind::Build)]);
    let engine = FakeEngine { broken, ..FakeEngine::default() };
    let report = run(&project(&case), &engine, &Request::default()).await;
    let errors: Vec<(ImageErrorKind, &str)> = report.images[1..]
        .iter()
        .map(|image| image.error.as_ref().unwrap())
        .map(|error| (error.kind, &*error.message))
        .collect();
    let dependency = ImageErrorKind::Dependency;
    let mut expected = vec![
        (dependency, "i0, which it needs, failed"),
        (dependency, "i0, which it needs, failed"),
        (dependency, "i1, which it needs, was not built, because i0 failed"),
    ];
    let mut errors = errors;
    errors.sort_by_key(|(_, message)| *message);
    expected.sort_by_key(|(_, message)| *message);
    assert_eq!(errors, expected);
}

#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Observer for Recorder {
    fn event(&self, event: Event) {
        let text = match event {
            Event::RunStarted { images } => format!("run of {}", images.len()),
            Event::PushRetried { image, error, wait } => {
                assert!(wait <= Duration::from_secs(8), "{wait:?}");
                format!("{image} again: {error}")
            }
            Event::Finished(report) => format!("{} {}", report.image, report.status.as_str()),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

/// Builds and pushes `alone`, whose first pushes end so.
async fn push_alone(
    registry: &MemoryRegistry,
    failures: &[BackendErrorKind],
    meanwhile: impl AsyncFn(&FakeEngine<'_>, &TestProject),
) -> (RunReport, Vec<String>, usize) {
    let project = diamond("r.example/p");
    let engine = FakeEngine {
        registry: Some(registry),
        push_failures: Mutex::new(failures.to_vec()),
        ..FakeEngine::default()
    };
    let request = Request {
        images: vec!["alone".to_owned()],
        push: Some(PushPolicy::Always),
        ..Request::default()
    };
    let recorder = Recorder::default();
    let services = Services {
        registry,
        engine: &engine,
        backends: &[NamedBackend::only(&engine)],
        observer: &recorder,
    };
    let (loaded, cancel) = (project.load(), CancellationToken::new());
    let (built, ()) = tokio::join!(
        story::build(&loaded, &request, &services, &cancel),
        meanwhile(&engine, &project)
    );
    let pushes = engine.pushed.lock().unwrap().len();
    (built.unwrap().report, recorder.0.into_inner().unwrap(), pushes)
}

#[tokio::test(start_paused = true)]
async fn a_push_that_may_pass_is_tried_again() {
    let registry = MemoryRegistry::default();
    let passing = BackendErrorKind::RegistryPassing;
    let (report, told, pushes) = push_alone(&registry, &[passing; 2], async |_, _| {}).await;
    assert_eq!(report.images[0].status, Status::Built);
    assert!(report.images[0].pushed);
    assert_eq!(pushes, 3);
    let again = "alone again: engine and registry: as the test wants";
    assert_eq!(told, ["run of 1", again, again, "alone built"]);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_is_refused_is_not_tried_again_and_none_for_ever() {
    for (failures, tries) in [
        (vec![BackendErrorKind::Registry], 1),
        (vec![BackendErrorKind::Unavailable], 1),
        (vec![BackendErrorKind::RegistryPassing; 9], 5),
    ] {
        let registry = MemoryRegistry::default();
        let (report, _, pushes) = push_alone(&registry, &failures, async |_, _| {}).await;
        let alone = report.image(&image("alone")).unwrap();
        assert_eq!((alone.status, alone.pushed, pushes), (Status::Failed, false, tries));
        assert_eq!(registry.digest_of(&alone.reference.to_string()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_faster_while_a_push_waits_is_not_pushed_over() {
    let registry = MemoryRegistry::default();
    let passing = [BackendErrorKind::RegistryPassing];
    let (report, _, pushes) = push_alone(&registry, &passing, async |_, project| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let key = project.key("alone");
        let name = format!("r.example/p/alone:{}", key.replace(':', "-"));
        registry.push(&name.parse().unwrap(), &rival_config(&key));
    })
    .await;
    let alone = &report.images[0];
    assert_eq!((alone.status, alone.pushed, pushes), (Status::Reused, false, 1));
    assert_eq!(alone.digest, registry.digest_of(&alone.reference.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_push_of_which_only_the_answer_was_lost_counts() {
    let registry = MemoryRegistry::default();
    let passing = [BackendErrorKind::RegistryPassing];
    let (report, _, pushes) = push_alone(&registry, &passing, async |engine, _| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (name, local) = {
            let store = engine.store.lock().unwrap();
            let (name, local) = store.first_key_value().unwrap();
            (name.clone(), local.clone())
        };
        registry.push(&name.parse().unwrap(), &engine.config(&local));
    })
    .await;
    let alone = &report.images[0];
    assert_eq!((alone.status, alone.pushed, pushes), (Status::Built, true, 1));
}

//! What is decided from keys and presence.

use std::collections::BTreeSet;

use dockit_core::lookup::{Lookups, Presence};
use dockit_core::plan::{Action, Plan, PlanOptions, Reason};
use dockit_core::{ImageGraph, ImageName};
use dockit_registry::Digest;

use crate::support::{diamond, image};

fn present() -> Presence {
    Presence::Registry { digest: Digest::of(b"manifest"), stale_tags: vec![] }
}

fn plan(absent: &[&str], selected: &[&str], change: impl FnOnce(&mut PlanOptions)) -> Plan {
    let project = diamond("r.example/p");
    let graph = ImageGraph::new(&project.load()).unwrap();
    let keys = project.keys();
    let lookups: Lookups = graph
        .order()
        .iter()
        .map(|name| {
            let presence =
                if absent.contains(&name.as_str()) { Presence::Absent } else { present() };
            (name.clone(), presence)
        })
        .collect();
    let selected: BTreeSet<ImageName> = selected.iter().map(|name| image(name)).collect();
    let mut options = PlanOptions { selected, ..PlanOptions::default() };
    change(&mut options);
    Plan::decide(&graph, &keys, &lookups, &options)
}

fn actions(plan: &Plan) -> Vec<(&str, &str, &str)> {
    plan.steps
        .iter()
        .map(|step| (step.image.as_str(), step.action.as_str(), step.reason.kind()))
        .collect()
}

const ALL: &[&str] = &["alone", "base", "left", "right", "top"];

#[test]
fn what_is_present_is_reused() {
    let plan = plan(&[], ALL, |_| {});
    assert!(plan.steps.iter().all(|step| step.action == Action::Reuse && step.digest.is_some()));
    assert!(!plan.builds());
}

#[test]
fn what_is_absent_is_built_after_its_dependencies() {
    let plan = plan(&["base", "top"], ALL, |_| {});
    assert_eq!(
        actions(&plan),
        [
            ("alone", "reuse", "present"),
            ("base", "build", "absent"),
            ("left", "reuse", "present"),
            ("right", "reuse", "present"),
            ("top", "build", "absent"),
        ]
    );
}

#[test]
fn an_absent_dependency_is_named_in_the_reason() {
    let plan = plan(&["base", "left"], &["left"], |_| {});
    assert_eq!(actions(&plan), [("base", "build", "needed-by"), ("left", "build", "absent")]);
    assert_eq!(
        plan.step(&image("left")).unwrap().reason,
        Reason::Absent { after: vec![image("base")] }
    );
    assert_eq!(plan.step(&image("base")).unwrap().reason, Reason::NeededBy(vec![image("left")]));
}

#[test]
fn a_dependency_of_present_images_is_not_missed() {
    let plan = plan(&["base", "left", "right"], &["top"], |_| {});
    assert_eq!(
        actions(&plan),
        [
            ("base", "skip", "not-needed"),
            ("left", "skip", "not-needed"),
            ("right", "skip", "not-needed"),
            ("top", "reuse", "present"),
        ]
    );
}

#[test]
fn a_rebuild_builds_the_named_images_and_no_present_dependency() {
    let plan = plan(&["base"], &["left"], |options| options.rebuild = true);
    assert_eq!(actions(&plan), [("base", "build", "needed-by"), ("left", "build", "rebuild")]);
}

#[test]
fn what_is_never_pushed_is_built_though_present() {
    let plan = plan(&[], &["left"], |options| options.push_never = true);
    assert_eq!(actions(&plan), [("base", "reuse", "present"), ("left", "build", "push-never")]);
}

#[test]
fn stale_tags_are_moved_for_selected_images_only() {
    let project = diamond("r.example/p");
    let graph = ImageGraph::new(&project.load()).unwrap();
    let keys = project.keys();
    let stale = vec!["latest".parse().unwrap()];
    let lookups: Lookups = graph
        .order()
        .iter()
        .map(|name| {
            let digest = Digest::of(b"manifest");
            (name.clone(), Presence::Registry { digest, stale_tags: stale.clone() })
        })
        .collect();
    let options = PlanOptions { selected: [image("left")].into(), ..PlanOptions::default() };
    let plan = Plan::decide(&graph, &keys, &lookups, &options);
    assert_eq!(actions(&plan), [("base", "reuse", "present"), ("left", "retag", "stale-tags")]);
}

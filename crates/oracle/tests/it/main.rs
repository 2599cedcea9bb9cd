//! Keys against recorded verdicts of BuildKit; `docs/precision.md` says how each row comes out.

use dockit_oracle::document::{self, NO_REASON};
use dockit_oracle::key::{Keyed, key};
use dockit_oracle::records::{BUILDKIT, DOCKER, random_rows};
use dockit_oracle::{Judgement, State, Verdict, judge, random, rows};

#[test]
fn keys_change_exactly_when_docker_built_except_as_documented() {
    expect_documented(DOCKER);
}

#[test]
fn keys_change_exactly_when_buildkit_built_except_as_documented() {
    expect_documented(BUILDKIT);
}

fn expect_documented(builder: &str) {
    let rows = rows::all();
    let differences = document::differences(builder, &document::judge_recorded(builder, &rows));
    assert!(differences.is_empty(), "otherwise than docs/precision.md says:\n{differences}");
}

#[test]
fn random_changes_never_leave_a_key_as_it_was_that_buildkit_built() {
    for builder in [DOCKER, BUILDKIT] {
        let rows = random_rows(builder);
        let judged = document::judge_recorded(builder, &rows);
        let unsound = random::unsound(&judged);
        assert!(unsound.is_empty(), "{builder}\n{unsound}");
    }
}

/// `cargo run -p dockit-oracle -- document` writes it.
#[test]
fn the_document_is_as_it_would_be_written_and_has_a_reason_for_everything() {
    assert_eq!(document::text(), document::rewritten());
    for builder in [DOCKER, BUILDKIT] {
        for (id, known) in document::known(builder) {
            assert_ne!(known.reason, NO_REASON, "{id}");
        }
    }
}

#[test]
fn judgements_are_passed_on_every_case() {
    let key = |key: &str| Keyed::Key(key.to_owned());
    let refused = || Keyed::Refused(String::new());
    for (before, after, verdict, judgement) in [
        (key("1"), key("1"), Verdict::Same, Judgement::Exact),
        (key("1"), key("1"), Verdict::OtherImage, Judgement::Unsound),
        (key("1"), key("1"), Verdict::Rebuilt, Judgement::Unsound),
        (key("1"), key("1"), Verdict::Failed, Judgement::Unsound),
        (key("1"), key("2"), Verdict::Same, Judgement::Imprecise),
        (key("1"), key("2"), Verdict::OtherImage, Judgement::Exact),
        (key("1"), key("2"), Verdict::Rebuilt, Judgement::Exact),
        (key("1"), key("2"), Verdict::Failed, Judgement::Exact),
        (key("1"), refused(), Verdict::Failed, Judgement::Exact),
        (key("1"), refused(), Verdict::Same, Judgement::Refused),
        (refused(), refused(), Verdict::Failed, Judgement::Refused),
        (key("1"), key("1"), Verdict::NeverBuilt, Judgement::Mute),
    ] {
        assert_eq!(judge(&before, &after, verdict), judgement, "{before:?} {after:?} {verdict:?}");
    }
}

#[test]
fn a_project_has_one_key_and_a_changed_one_another() {
    let project = |content| State::new("FROM scratch\nCOPY f /\n", &[("f", content)]);
    let [one, other] = ["1", "2"].map(|content| key(&project(content)));
    assert!(matches!(one, Keyed::Key(_)), "{one:?}");
    assert_ne!(one, other);
    assert!(matches!(key(&State::new("NONSENSE\n", &[])), Keyed::Refused(_)));
}

//! What differs between two Dockerfiles, as far as they are executed.

use std::ops::Range;

use dockit_hashing::dockerfile::{Program, ProgramStage, ProgramStep, StageBase};

use super::change::{Change, How, What};

/// Largest table for the comparison of two lists; longer ones are compared by position. A Dockerfile of
/// a thousand instructions fits.
const MAX_TABLE: usize = 4 * 1024 * 1024;

pub(super) fn program_changes(old: &Program, new: &Program, found: &mut Vec<Change>) {
    if old.hash() == new.hash() {
        return;
    }
    if old.frontend != new.frontend {
        let text = |program: &Program| Some(program.frontend.clone().unwrap_or_default());
        let change = Change::new(What::Frontend, How::Changed, "");
        found.push(change.between(text(old), text(new)));
    }
    let (before, after) = (&old.stages, &new.stages);
    let pairs = pairs(before, after);
    // Numbers of stages and images mean others than before; hashes of instructions have such numbers.
    let shifted = before.len() != after.len()
        || pairs.iter().any(|(a, b)| a != b)
        || pairs.len() < after.len();
    for (index, old) in before.iter().enumerate() {
        if !pairs.iter().any(|(a, _)| *a == index) {
            found.push(Change::new(What::Stage, How::Removed, stage_name(index, old)));
        }
    }
    for (index, new) in after.iter().enumerate() {
        let Some((old, _)) = pairs.iter().find(|(_, b)| *b == index) else {
            found.push(Change::new(What::Stage, How::Added, stage_name(index, new)));
            continue;
        };
        // What stood behind it and stands before it now.
        if pairs.iter().any(|(a, b)| a > old && *b < index) {
            let change = Change::new(What::Stage, How::Changed, stage_name(index, new));
            let place = |index: usize| Some(format!("number {}", index + 1));
            found.push(change.between(place(*old), place(index)));
        }
        stage(&before[*old], index, new, &pairs, shifted, found);
    }
}

/// Stages that are the same, by their positions: by name first, wherever they stand; then by what they
/// do; then by their place among the others.
fn pairs(old: &[ProgramStage], new: &[ProgramStage]) -> Vec<(usize, usize)> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (a, stage) in old.iter().enumerate().filter(|(_, stage)| stage.name.is_some()) {
        let same = |(b, other): &(usize, &ProgramStage)| {
            other.name == stage.name && pairs.iter().all(|(_, paired)| paired != b)
        };
        if let Some((b, _)) = new.iter().enumerate().find(same) {
            pairs.push((a, b));
        }
    }
    let rest_old: Vec<usize> =
        (0..old.len()).filter(|a| pairs.iter().all(|(paired, _)| paired != a)).collect();
    let rest_new: Vec<usize> =
        (0..new.len()).filter(|b| pairs.iter().all(|(_, paired)| paired != b)).collect();
    for (a, b) in align(&rest_old, &rest_new, |a, b| hashes(&old[*a]) == hashes(&new[*b])) {
        pairs.extend(a.zip(b).map(|(a, b)| (rest_old[a], rest_new[b])));
    }
    pairs
}

fn hashes(stage: &ProgramStage) -> Vec<dockit_hashing::content_hash::ContentHash> {
    stage.triggers.iter().chain(&stage.steps).map(|step| step.hash).collect()
}

fn stage(
    old: &ProgramStage,
    index: usize,
    new: &ProgramStage,
    pairs: &[(usize, usize)],
    shifted: bool,
    found: &mut Vec<Change>,
) {
    let changed = || Change::new(What::Stage, How::Changed, stage_name(index, new));
    let same_base = match (old.base, new.base) {
        (StageBase::Stage(a), StageBase::Stage(b)) => pairs.contains(&(a, b)),
        // Which image a number means is for the images to say.
        (StageBase::Image(a), StageBase::Image(b)) => shifted || a == b,
        (a, b) => a == b,
    };
    if !same_base {
        found.push(changed().between(Some(base_name(old.base)), Some(base_name(new.base))));
    }
    if old.platform != new.platform {
        found.push(changed().between(old.platform.clone(), new.platform.clone()));
    }
    steps(&old.triggers, &new.triggers, shifted, found);
    steps(&old.steps, &new.steps, shifted, found);
}

fn stage_name(index: usize, stage: &ProgramStage) -> String {
    match &stage.name {
        Some(name) => name.clone(),
        None => format!("number {}", index + 1),
    }
}

fn base_name(base: StageBase) -> String {
    match base {
        StageBase::Scratch => "from scratch".to_owned(),
        StageBase::Stage(position) => format!("from stage number {}", position + 1),
        StageBase::Image(position) => format!("from image number {}", position + 1),
    }
}

fn steps(old: &[ProgramStep], new: &[ProgramStep], shifted: bool, found: &mut Vec<Change>) {
    for (a, b) in align(old, new, |a, b| a.hash == b.hash) {
        let (mut a, mut b) = (old[a].iter().peekable(), new[b].iter().peekable());
        // Between what is the same: an instruction in the place of one with the same keyword is that
        // one, changed.
        loop {
            let change = match (a.peek(), b.peek()) {
                (Some(old), Some(new)) if old.hash == new.hash => {
                    a.next();
                    b.next();
                    continue;
                }
                (Some(old), Some(new)) if old.keyword == new.keyword => {
                    let from = (old.line != new.line).then(|| format!("line {}", old.line));
                    let mut to = from.is_some().then(|| format!("line {}", new.line));
                    if shifted && matches!(&*new.keyword, "COPY" | "RUN") {
                        let now = to.get_or_insert_with(|| format!("line {}", new.line));
                        now.push_str(", or only the stage that it names moved");
                    }
                    let change = step(How::Changed, new).between(from, to);
                    a.next();
                    b.next();
                    change
                }
                (Some(old), Some(_)) | (Some(old), None) => {
                    let change = step(How::Removed, old);
                    a.next();
                    change
                }
                (None, Some(new)) => {
                    let change = step(How::Added, new);
                    b.next();
                    change
                }
                (None, None) => break,
            };
            found.push(change);
        }
    }
}

fn step(how: How, step: &ProgramStep) -> Change {
    Change::new(What::Instruction, how, format!("{}, line {}", step.keyword, step.line))
}

/// Cuts both lists into pairs of ranges between which a longest common subsequence lies; of what is
/// [the same](same), each item is a pair of ranges of its own.
fn align<T>(
    old: &[T],
    new: &[T],
    same: impl Fn(&T, &T) -> bool,
) -> Vec<(Range<usize>, Range<usize>)> {
    if old.len().saturating_mul(new.len()) > MAX_TABLE {
        return vec![(0..old.len(), 0..new.len())];
    }
    // longest[i][j]: the length of a longest common subsequence of old[i..] and new[j..].
    let width = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if same(&old[i], &new[j]) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut ranges = Vec::new();
    let (mut i, mut j) = (0, 0);
    let (mut start_i, mut start_j) = (0, 0);
    while i < old.len() && j < new.len() {
        if same(&old[i], &new[j]) {
            ranges.push((start_i..i, start_j..j));
            ranges.push((i..i + 1, j..j + 1));
            (i, j) = (i + 1, j + 1);
            (start_i, start_j) = (i, j);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    ranges.push((start_i..old.len(), start_j..new.len()));
    ranges
}

#[cfg(test)]
mod tests {
    use dockit_hashing::content_hash::ContentHash;

    use super::*;

    fn stage_of(name: Option<&str>, steps: &[(&str, u32, &str)]) -> ProgramStage {
        let steps = steps.iter().map(|(keyword, line, text)| ProgramStep {
            line: *line,
            keyword: (*keyword).to_owned(),
            hash: ContentHash::of(format!("{keyword} {text}").as_bytes()),
        });
        ProgramStage {
            name: name.map(str::to_owned),
            base: StageBase::Scratch,
            platform: None,
            triggers: Vec::new(),
            steps: steps.collect(),
        }
    }

    fn told(old: Vec<ProgramStage>, new: Vec<ProgramStage>) -> Vec<String> {
        let program = |stages| Program { frontend: None, stages };
        let mut found = Vec::new();
        program_changes(&program(old), &program(new), &mut found);
        found
            .iter()
            .map(|change| {
                format!("{} {}: {}", change.what.as_str(), change.how.as_str(), change.subject)
            })
            .collect()
    }

    #[test]
    fn an_instruction_that_comes_between_is_added_and_others_stay() {
        let old = stage_of(None, &[("COPY", 2, "a"), ("RUN", 3, "x"), ("RUN", 4, "y")]);
        let new =
            stage_of(None, &[("COPY", 2, "a"), ("RUN", 3, "w"), ("RUN", 4, "x"), ("RUN", 5, "y")]);
        assert_eq!(told(vec![old.clone()], vec![new.clone()]), ["instruction added: RUN, line 3"]);
        assert_eq!(told(vec![new], vec![old.clone()]), ["instruction removed: RUN, line 3"]);
        let other = stage_of(None, &[("COPY", 2, "a"), ("RUN", 3, "z"), ("RUN", 4, "y")]);
        assert_eq!(told(vec![old], vec![other]), ["instruction changed: RUN, line 3"]);
    }

    #[test]
    fn an_instruction_of_another_keyword_is_another_instruction() {
        let old = stage_of(None, &[("ENV", 2, "a")]);
        let new = stage_of(None, &[("RUN", 2, "a")]);
        assert_eq!(
            told(vec![old], vec![new]),
            ["instruction removed: ENV, line 2", "instruction added: RUN, line 2"]
        );
    }

    #[test]
    fn stages_are_found_again_by_name() {
        let build = stage_of(Some("build"), &[("RUN", 2, "make")]);
        let changed = stage_of(Some("build"), &[("RUN", 5, "make -j")]);
        let test = stage_of(Some("test"), &[("RUN", 2, "test")]);
        let last = stage_of(None, &[("COPY", 9, "all")]);
        assert_eq!(
            told(vec![build, last.clone()], vec![test, changed, last]),
            ["stage added: test", "instruction changed: RUN, line 5"]
        );
    }

    #[test]
    fn a_stage_that_moves_is_no_other() {
        let (a, b) =
            (stage_of(Some("a"), &[("RUN", 2, "a")]), stage_of(Some("b"), &[("RUN", 4, "b")]));
        let last = |position| ProgramStage {
            base: StageBase::Stage(position),
            ..stage_of(None, &[("ENV", 9, "x")])
        };
        assert_eq!(
            told(vec![a.clone(), b.clone(), last(0)], vec![b.clone(), a.clone(), last(1)]),
            ["stage changed: a"]
        );
        assert_eq!(
            told(vec![a.clone(), last(0)], vec![b.clone(), a.clone(), last(1)]),
            ["stage added: b"]
        );
        assert_eq!(
            told(vec![a.clone(), b.clone(), last(0)], vec![a, b, last(1)]),
            ["stage changed: number 3"]
        );
    }

    #[test]
    fn lines_and_names_alone_are_no_change() {
        let old = stage_of(Some("a"), &[("RUN", 2, "x")]);
        let new = stage_of(Some("b"), &[("RUN", 9, "x")]);
        assert_eq!(told(vec![old], vec![new]), Vec::<String>::new());
    }
}

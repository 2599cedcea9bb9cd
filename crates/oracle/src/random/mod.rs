//! Random projects and changes. A seed gives the same one on every machine.

mod text;
mod tree;

use crate::{Judgement, Needs, Row, State};

/// The projects and changes of so many seeds. Every third is about the text of a Dockerfile, the others
/// are about the files that it sees.
pub fn rows(first: u64, count: u64) -> Vec<Row> {
    (first..first + count)
        .map(|seed| match seed % 3 {
            0 => row(seed, text::project, text::change),
            _ => row(seed, tree::project, tree::change),
        })
        .collect()
}

fn row(seed: u64, project: fn(&mut Random) -> State, change: fn(&mut Random, &mut State)) -> Row {
    let mut random = Random(seed);
    let before = project(&mut random);
    let mut after = before.clone();
    while after == before {
        for _ in 0..1 + random.below(2) {
            change(&mut random, &mut after);
        }
    }
    Row { id: format!("random/{seed}"), before, after, needs: Needs::Any, is_random: true }
}

/// The unsound ones in full, for the message of a test.
pub fn unsound(judged: &[(&Row, Judgement)]) -> String {
    let unsound = judged.iter().filter(|(_, judgement)| *judgement == Judgement::Unsound);
    unsound.map(|(row, _)| describe(row)).collect()
}

fn describe(row: &Row) -> String {
    let mut text = format!("{}\n", row.id);
    for (title, state) in [("before", &row.before), ("after", &row.after)] {
        text.push_str(&format!("{title}:\n{}", state.text(&state.dockerfile)));
        if state.has(".dockerignore") {
            text.push_str(&format!("ignored:\n{}", state.text(".dockerignore")));
        }
        text.push_str(&format!("{:?}\n", state.paths()));
    }
    text
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }
}

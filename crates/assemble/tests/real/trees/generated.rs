//! Cases that are made from a seed.

use super::{Case, World, compare};

/// The same each time, so that nobody has to find out what another one's run had.
const SEED: u64 = 8;

/// How many are made; about a third of them cannot be built.
const CASES: usize = 250;

/// How many of those are built by the engine, one by one.
const MOST_REFUSED: usize = 15;

/// Numbers that look random (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn case(&mut self) -> Case {
        let lines: Vec<String> = (0..1 + self.below(3)).map(|_| self.line()).collect();
        Case(lines.join("\n"))
    }

    fn line(&mut self) -> String {
        match self.below(10) {
            0 => format!("WORKDIR {}", self.path()),
            1 => format!("USER {}", self.owner()),
            2 => {
                let source = self.one(&["/", "/data", "/data/*", "/bin", "/srv/keep/file", "*"]);
                format!("COPY --from=base {}{source} {}", self.flags(), self.destination())
            }
            choice => {
                let keyword = if choice == 3 { "ADD" } else { "COPY" };
                let flags = self.flags();
                let sources: Vec<_> = (0..1 + self.below(2)).map(|_| self.source()).collect();
                format!("{keyword} {flags}{} {}", sources.join(" "), self.destination())
            }
        }
    }

    fn flags(&mut self) -> String {
        match self.below(4) {
            0 => format!("--chown={} ", self.owner()),
            _ => String::new(),
        }
    }

    fn owner(&mut self) -> &'static str {
        self.one(&["5", "5:6", "app", "app:staff", "mail:7", "0:staff", "nobody"])
    }

    fn source(&mut self) -> String {
        let whole = ["a.txt", "*.txt", "one", "two", "empty", "to-file", "to-directory", "above"];
        let parts = ["one", "two", "*", "to-directory", "t*o", "o??"];
        let inner = ["f", "*", "sub", "sub/*", "sub/deep", "same", "link", "*-link", "s*", "*.md"];
        match self.below(2) {
            0 => self.one(&whole).to_owned(),
            _ => format!("{}/{}", self.one(&parts), self.one(&inner)),
        }
    }

    fn path(&mut self) -> String {
        let first = ["new", "data", "srv", "bin", "lib", "run", "tmp"];
        let then =
            ["away", "link", "new", "up", "one", "file", "sub", "x", "keep", "..", "dangling"];
        let absolute = if self.below(4) == 0 { "" } else { "/" };
        let mut path = format!("{absolute}{}", self.one(&first));
        for _ in 0..self.below(3) {
            path = format!("{path}/{}", self.one(&then));
        }
        path
    }

    fn destination(&mut self) -> String {
        let end = if self.below(3) == 0 { "/" } else { "" };
        format!("{}{end}", self.path())
    }
}

#[test]
fn trees_of_generated_dockerfiles_are_the_engines() {
    let mut random = Random(SEED);
    let cases: Vec<Case> = (0..CASES).map(|_| random.case()).collect();
    compare(&World::new(), &cases, MOST_REFUSED);
}

//! The same files through another parser. Its known differences are kept out of the samples:
//! heredocs in the middle of a line, quotes in flags, two stages of one name.

use dockit_hashing::dockerfile::{Dockerfile, ImageUseKind};
use parse_dockerfile::Instruction;

use super::Options;

const SAMPLES: &[&str] = &[
    "FROM debian:bookworm-slim\nRUN apt-get update \\\n && apt-get install -y make \\\n # why\n && true\n",
    "# escape=`\nFROM mcr.example/windows AS w\nRUN dir `\n  c:\\\nFROM w\nCOPY --from=w a b\n",
    "ARG A=1\nFROM --platform=$P x AS one\nFROM y as Two\nFROM z\nCOPY --from=one a b\nCOPY --from=img:1 a b\n",
    "from a\ncopy [\"x y\", \"z\"]\nadd a b c/\ncmd [\"x\"]\nentrypoint x\n",
    "FROM a\nRUN <<EOF\nFROM b\nEOF\nRUN <<'E' \nx\nE\nUSER x\n",
    "FROM a\n\n\n#c\nONBUILD RUN x\nHEALTHCHECK CMD y\nLABEL a=b\nENV a=b c=d\n",
    "FROM a AS b\r\nRUN x \\\r\n y\r\nFROM b\r\n",
];

#[test]
fn stages_bases_and_copy_sources_agree_with_parse_dockerfile() {
    for text in SAMPLES {
        let theirs = parse_dockerfile::parse(text).unwrap();
        let ours = Dockerfile::parse(text.as_bytes()).unwrap();

        let mut names = Vec::new();
        let mut lines = Vec::new();
        for instruction in &theirs.instructions {
            if let Instruction::From(from) = instruction {
                let name = from.as_.as_ref().map(|(_, name)| name.value.to_lowercase());
                let line = text[..from.image.span.start].matches('\n').count() as u32 + 1;
                names.push(name);
                lines.push((line, from.image.value.to_string()));
            }
        }
        let our_names: Vec<_> = ours.stage_names().map(|name| name.map(str::to_owned)).collect();
        assert_eq!(our_names, names, "{text}");

        // Each stage as target, so that every FROM of an image is seen.
        let mut found = Vec::new();
        for name in our_names.iter().flatten().map(Some).chain([None]) {
            let options = Options { target: name.cloned(), ..Options::default() }
                .platform(&[("P", "linux/amd64")]);
            for used in options.uses(text) {
                if used.kind == ImageUseKind::From {
                    found.push((used.line, used.name));
                }
            }
        }
        found.sort();
        found.dedup();
        let stages: Vec<_> = names.iter().flatten().collect();
        lines.retain(|(_, image)| !stages.contains(&image));
        assert_eq!(found, lines, "{text}");
    }
}

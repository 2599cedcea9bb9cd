//! What the encoded program depends on: the rows of BuildKit's own behaviour.

use std::collections::BTreeMap;

use dockit_hashing::content_hash::ContentHash;
use dockit_hashing::dockerfile::{Dockerfile, ResolveOptions};

fn program(text: &str) -> Vec<u8> {
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    let none = BTreeMap::new();
    let options = ResolveOptions { target: None, args: &none, platform_args: &none };
    dockerfile.resolve(&options).unwrap().program()
}

#[test]
fn formatting_is_not_in_the_program() {
    let plain = "FROM a AS b\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=b /x /x\n";
    for same in [
        "# comment\nFROM a AS b\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=b /x /x\n",
        "from a as b\nrun one && two\ncopy x y /z\nfrom c\ncopy --from=b /x /x\n",
        "FROM a AS b\r\nRUN one && two\r\nCOPY x y /z\r\nFROM c\r\nCOPY --from=b /x /x\r\n",
        "FROM   a   AS b\nRUN one && two\nCOPY x   y\t/z\nFROM c\nCOPY --from=b /x  /x",
        "FROM a AS renamed\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=renamed /x /x\n",
        "FROM a AS b\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=0 /x /x\n",
        "# escape=\\\n# check=skip=all\nFROM a AS b\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=b /x /x\n",
        "FROM unused AS u\nRUN x\nFROM a AS b\nRUN one && \\\n# why\n\ntwo\nCOPY x y /z\nFROM c\nCOPY --from=b /x /x\n",
        "  FROM a AS b\n\tRUN one && two\nCOPY x \\\n y /z\nFROM c\nCOPY --from=b /x /x\n",
        "ARG UNUSED=1\nFROM a AS b\nRUN one && two\nCOPY x y /z\nFROM c\nCOPY --from=b /x /x\n",
    ] {
        assert_eq!(program(same), program(plain), "{same}");
    }
}

#[test]
fn everything_that_is_executed_is_in_the_program() {
    let texts = [
        "FROM a\nRUN one && two\n",
        "FROM a\nRUN one  && two\n",
        "FROM a\nRUN [\"one\", \"two\"]\n",
        "FROM a\nRUN one two\n",
        "FROM a\nRUN --network=none one && two\n",
        "FROM scratch\nRUN one && two\n",
        "FROM a\nCOPY x y /z\n",
        "FROM a\nCOPY y x /z\n",
        "FROM a\nADD x y /z\n",
        "FROM a\nCOPY --chmod=644 x y /z\n",
        "FROM a\nCOPY --link x y /z\n",
        "FROM a\nCOPY --chown=b x y /z\n",
        "FROM a\nCOPY --from=b x y /z\n",
        "FROM a AS b\nFROM a\nCOPY --from=b x y /z\n",
        "FROM a\nCOPY --exclude=q x y /z\n",
        "FROM a\nLABEL x=1\n",
        "FROM a\nCMD x=1\n",
        "FROM a\nENV x=1\n",
        "FROM a\nENV x=1\nUSER u\n",
        "FROM a\nUSER u\nENV x=1\n",
        "FROM a\nARG x=1\n",
        "FROM a\nONBUILD RUN x\n",
        "FROM a\nWORKDIR /x\n",
        "FROM a\nSHELL [\"x\"]\n",
        "FROM a\nENTRYPOINT []\n",
        "FROM a\nRUN <<EOF\nx\nEOF\n",
        "FROM a\nRUN <<EOF\n# x\nEOF\n",
        "FROM a\nRUN <<'EOF'\nx\nEOF\n",
        "FROM a\nRUN <<-EOF\nx\nEOF\n",
        "FROM a\nCOPY <<f1 /x\nx\nf1\n",
        "FROM a\nCOPY <<f2 /x\nx\nf2\n",
        "FROM a\nRUN --mount=type=cache,target=/x y\n",
        "FROM a\nRUN --mount=type=cache,id=z,target=/x y\n",
        "FROM a\nRUN --mount=type=bind,from=b,target=/x y\n",
        "FROM --platform=linux/arm64 a\nRUN x\n",
    ];
    let programs: Vec<Vec<u8>> = texts.iter().map(|text| program(text)).collect();
    for (index, one) in programs.iter().enumerate() {
        for (other, two) in programs[..index].iter().enumerate() {
            assert_ne!(one, two, "{} and {}", texts[index], texts[other]);
        }
    }
}

#[test]
fn here_documents_are_part_of_their_instruction() {
    let text = "FROM a\nRUN cat <<EOF > /f && cat <<-\"END\" >> /f\nFROM x\n# kept\n\nEOF\n\ttab\n\tEND\nRUN y\n";
    let dockerfile = Dockerfile::parse(text.as_bytes()).unwrap();
    assert_eq!(dockerfile.stage_names().count(), 1);
    let shorter = text.replace("# kept\n", "");
    assert_ne!(program(text), program(&shorter));
}

/// The vectors of `docs/key-format.md`.
#[test]
fn the_encoding_is_as_documented() {
    let documented = include_str!("../../../../docs/key-format.md");
    for text in [
        "FROM scratch\n",
        "FROM debian:12 AS build\nARG V=1\nRUN make \"V=$V\"\nFROM scratch\nCOPY --from=build --chown=1 /out /\nCMD [\"/out\"]\n",
    ] {
        let vector = ContentHash::of(&program(text)).to_string();
        assert!(documented.contains(&vector), "{vector} ({text}) is not in docs/key-format.md");
    }
}

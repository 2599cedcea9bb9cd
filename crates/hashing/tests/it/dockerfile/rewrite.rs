use super::Options;

/// With every use replaced by a name with its position.
fn rewritten(text: &str) -> String {
    Options::default().look(text, |resolved| {
        let bytes = resolved.rewrite(&mut |index, _| Some(format!("new/{index}@sha256:00")));
        String::from_utf8(bytes).unwrap()
    })
}

#[test]
fn mentions_are_replaced_and_nothing_else() {
    for (text, expected) in [
        ("FROM a\n", "FROM new/0@sha256:00\n"),
        ("FROM a", "FROM new/0@sha256:00"),
        ("from\ta:1  AS  b\r\n", "from\tnew/0@sha256:00  AS  b\r\n"),
        ("\u{feff} FROM  a \n", "\u{feff} FROM  new/0@sha256:00 \n"),
        (
            "ARG A=1\nFROM --platform=linux/amd64 \"x:${A}\" as y\n",
            "ARG A=1\nFROM --platform=linux/amd64 new/0@sha256:00 as y\n",
        ),
        ("FROM \\\n # c\n a \\\n AS b\n", "FROM \\\n # c\n new/0@sha256:00 \\\n AS b\n"),
        ("FROM ab\\\ncd\nRUN x\n", "FROM new/0@sha256:00\nRUN x\n"),
        (
            "# syntax=docker/dockerfile:1 opt\nFROM scratch\n",
            "# syntax=new/0@sha256:00 opt\nFROM scratch\n",
        ),
        (
            "# escape=`\n#syntax = docker/dockerfile:1  \r\nFROM a\n",
            "# escape=`\n#syntax = new/0@sha256:00  \r\nFROM new/1@sha256:00\n",
        ),
        (
            "FROM scratch\nCOPY --link --from=b:1 --chown=0 x y\n",
            "FROM scratch\nCOPY --link --from=new/0@sha256:00 --chown=0 x y\n",
        ),
        (
            "FROM scratch\nCOPY --from=\"b:1\" x y\n",
            "FROM scratch\nCOPY --from=\"new/0@sha256:00\" x y\n",
        ),
        (
            "FROM scratch\nCOPY --fr\"om=b\":1 x y\n",
            "FROM scratch\nCOPY --fr\"om=new/0@sha256:00\" x y\n",
        ),
        (
            "FROM scratch\nCOPY --from=b'c' x y\n",
            "FROM scratch\nCOPY --from=new/0@sha256:00'' x y\n",
        ),
        ("FROM scratch\nCOPY --from=b\\c x y\n", "FROM scratch\nCOPY --from=new/0@sha256:00 x y\n"),
        (
            "FROM scratch\nRUN --mount=type=bind,from=b,target=/x \\\n  --mount=from=c,target=/y z\n",
            "FROM scratch\nRUN --mount=type=bind,from=new/0@sha256:00,target=/x \\\n  --mount=from=new/1@sha256:00,target=/y z\n",
        ),
        (
            "FROM scratch\nRUN --mount='type=bind,\"from=b\",target=/x' z\n",
            "FROM scratch\nRUN --mount='type=bind,\"from=new/0@sha256:00\",target=/x' z\n",
        ),
        (
            "FROM a\nRUN <<E\nFROM a\nE\nCOPY --from=a x y\n",
            "FROM new/0@sha256:00\nRUN <<E\nFROM a\nE\nCOPY --from=new/1@sha256:00 x y\n",
        ),
        // Stages and what is unreachable stay.
        (
            "FROM a AS s\nFROM b AS t\nFROM s\nCOPY --from=S x y\n",
            "FROM new/0@sha256:00 AS s\nFROM b AS t\nFROM s\nCOPY --from=S x y\n",
        ),
    ] {
        assert_eq!(rewritten(text), expected, "{text}");
        // The result means the same, with the new names; where it is still readable here.
        if !expected.contains("syntax") {
            let uses = Options::default().names(expected);
            assert!(uses.iter().all(|name| name.starts_with("new/")), "{expected}{uses:?}");
            assert_eq!(uses.len(), Options::default().names(text).len());
        }
    }
}

#[test]
fn uses_without_a_new_name_stay_as_they_are() {
    let text = "FROM ${X:-a} AS s\nCOPY --from=b x y\n";
    Options::default().look(text, |resolved| {
        assert_eq!(resolved.rewrite(&mut |_, _| None), text.as_bytes());
        let second =
            resolved.rewrite(&mut |index, used| (index == 1).then(|| used.name.to_uppercase()));
        assert_eq!(second, b"FROM ${X:-a} AS s\nCOPY --from=B x y\n");
    });
}

#[test]
fn bytes_that_are_no_text_stay() {
    let text = b"# \xff\r\nFROM a\nCOPY <<E /f\n\xfe\r\nE\n";
    let dockerfile = dockit_hashing::dockerfile::Dockerfile::parse(text).unwrap();
    let resolved = Options::default().resolve(&dockerfile).unwrap();
    let rewritten = resolved.rewrite(&mut |_, _| Some("bb".to_owned()));
    assert_eq!(rewritten, b"# \xff\r\nFROM bb\nCOPY <<E /f\n\xfe\r\nE\n");
}

//! What Docker 20.10 does not know, on the buildkitd that `DOCKIT_BUILDKIT` names.

use super::hand_written::cases;
use super::{World, compare};

const CASES: &[&str] = &[
    "COPY --parents one/sub/g /new/",
    "COPY --parents one/sub a.txt /new/",
    "COPY --parents one/./sub/deep /new/",
    "COPY --parents */sub/*/*.txt /new/",
    "COPY --parents **/*.md /new/",
    "COPY --parents one/./**/*.md /new/",
    "COPY --parents one/f /data/",
    "COPY --parents to-directory/f /new/",
    "COPY --parents missing /new/",
    "COPY --parents one/missing /new/",
    "COPY --parents no*match /new/",
    "COPY --parents . /new/",
    "COPY --parents --exclude=**/*.md one /new/",
    "COPY --exclude=*.md one /new/",
    "COPY --exclude=**/*.md one /new/",
    "COPY --exclude=sub --exclude=!sub/deep one /new/",
    "COPY --exclude=sub/* one /new/",
    "COPY --exclude=*.md *.md /new/",
    "COPY --exclude=f one/* /new/",
    "COPY --link a.txt /new/",
    "COPY --link a.txt /bin/",
    "COPY --link a.txt /data/link",
    "COPY --link one /data/away",
    "COPY --link --chown=5:6 one /new",
    "COPY --link --chown=app a.txt /new/",
    "COPY --link --chmod=600 a.txt /bin/x/",
    "COPY --link a.txt /data",
    "COPY --chmod=4711 one /new/er",
    "COPY --chmod=u=rwX,go=rX one /new/er",
    "COPY --chmod=a-w,+x a.txt /new/",
    "COPY --chmod=g=u exec.sh /new/",
    "COPY --chmod=888 a.txt /new/",
    "COPY --chmod=z a.txt /new/",
    "COPY <<one <<two a.txt /new/\n1\none\n2\ntwo",
    "COPY <<one /data/link\ntext\none",
    "COPY --chown=5 --chmod=600 <<one /deep/er/x\ntext\none",
    "COPY a.txt /new/.",
    "COPY missing/* /new/",
    "COPY to-directory/f* /new/",
    "ADD --chown=5:6 files.tgz /new/er",
    "ADD --unpack=false files.tgz /new/",
];

#[test]
#[ignore = "needs DOCKIT_BUILDKIT"]
#[expect(clippy::disallowed_methods, reason = "a test may be told by whoever runs it")]
fn trees_of_newer_syntax_are_those_of_a_newer_buildkitd() {
    let buildkitd = std::env::var("DOCKIT_BUILDKIT").expect("DOCKIT_BUILDKIT is an address");
    compare(&World { buildkitd: Some(buildkitd), ..World::new() }, &cases(CASES), usize::MAX);
}

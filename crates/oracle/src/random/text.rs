//! Random Dockerfiles, in all the ways that a line can be written.

use super::Random;
use crate::State;

/// Instructions; most of them are fine.
const LINES: &[&str] = &[
    "ENV a=b",
    "ENV a=b c=d",
    "ENV a b",
    "ENV a b  c",
    "ENV a=\"b\"",
    "ENV a='b'",
    "ENV a=\"b c\" d='e f'",
    "ENV a=b\\ c",
    "ENV a=",
    "ENV a=\"\"",
    "ENV x=${a:-q}",
    "ENV x=${a:+q}",
    "ENV x=$a$b",
    "ENV x=\\$a",
    "ENV x='$a'",
    "ENV x=\"$a\"",
    "ENV a=f",
    "ENV a=\"b\\\nc\"",
    "ENV a=b \\\n  c=d",
    "ENV a=b \\\n# c=d\n  e=f",
    "ARG a",
    "ARG a=b",
    "ARG a=\"b\"",
    "ARG a=f",
    "ARG x=$a",
    "ARG unused=1",
    "LABEL a=b",
    "LABEL \"a b\"=c",
    "LABEL a=\"$a\"",
    "LABEL a=$a",
    "LABEL a b",
    "LABEL a=b c=d",
    "LABEL a=b\nLABEL c=d",
    "COPY f /x/",
    "COPY f  /x/",
    "COPY [\"f\", \"/x/\"]",
    "COPY [ \"f\" ,\"/x/\" ]",
    "COPY f\\\n /x/",
    "COPY \"f\" /x/",
    "COPY $a /x/",
    "COPY ${a} /x/",
    "COPY f f /x/",
    "COPY f g /x/",
    "COPY [fg] /x/",
    "COPY f* /x/",
    "COPY f /x\\ y/",
    "COPY --chown=1:1 f /x/",
    "COPY --chown=\"1:1\" f /x/",
    "COPY --chmod=600 f /x/",
    "COPY f /$a/",
    "ADD f /x/",
    "COPY --chown=1 --chmod=600 f /x/",
    "COPY f x/",
    "COPY f .",
    "COPY f ./",
    "copy f /x/",
    "Copy f /x/",
    "CMD [\"a\", \"b\"]",
    "CMD [\"a\",\"b\"]",
    "CMD a b",
    "CMD a  b",
    "CMD [a, b]",
    "CMD [\"a\", \"b\"",
    "CMD []",
    "CMD",
    "ENTRYPOINT [\"a\"]",
    "ENTRYPOINT a",
    "ENTRYPOINT []",
    "ENTRYPOINT [\"$a\"]",
    "CMD $a",
    "HEALTHCHECK NONE",
    "HEALTHCHECK CMD a",
    "HEALTHCHECK --interval=5s CMD a",
    "HEALTHCHECK --interval=5s --retries=2 CMD [\"a\"]",
    "EXPOSE 80",
    "EXPOSE 80/tcp",
    "EXPOSE 81 80",
    "EXPOSE 80-82",
    "VOLUME /a",
    "VOLUME [\"/a\"]",
    "VOLUME /a /b",
    "STOPSIGNAL 9",
    "STOPSIGNAL SIGKILL",
    "USER a",
    "USER a:b",
    "USER $a",
    "WORKDIR /a",
    "WORKDIR a",
    "WORKDIR /$a",
    "WORKDIR /a/",
    "ONBUILD ENV a=b",
    "ONBUILD  ENV  a=b",
    "onbuild env a=b",
    "SHELL [\"a\", \"b\"]",
    "MAINTAINER a",
    "MAINTAINER a  b",
    "# comment",
    "  # comment",
    "",
    "   ",
];

pub(super) fn project(random: &mut Random) -> State {
    let mut text = String::from("FROM scratch\nWORKDIR /@nonce@\n");
    for _ in 0..3 + random.below(5) {
        text.push_str(random.word(LINES));
        text.push('\n');
    }
    text.push_str("COPY f /last\n");
    let files = [("f", "f\n"), ("g", "g\n"), ("b", "b\n"), ("h", "h\n")];
    let mut state = State::new(&text, &files);
    if random.below(4) == 0 {
        state.arg("a", "g");
    }
    state
}

pub(super) fn change(random: &mut Random, state: &mut State) {
    let text = state.text("Dockerfile");
    let mut lines: Vec<&str> = text.lines().collect();
    // Behind the two that keep tests apart.
    let place = 2 + random.below(lines.len() - 2);
    let blanks = lines[place].replacen(' ', "   ", 1);
    let line_break = lines[place].replacen(' ', " \\\n ", 1);
    let lower = lines[place].to_lowercase();
    match random.below(12) {
        0..=3 => lines[place] = random.word(LINES),
        4 => lines.insert(place, random.word(LINES)),
        5 => drop(lines.remove(place)),
        6 => lines[place] = &blanks,
        7 => lines[place] = &line_break,
        8 => lines[place] = &lower,
        9 => lines.insert(place, "# comment"),
        10 => return state.arg("a", random.word(&["b", "f", "g", "", "unused"])),
        _ => return state.write(random.word(&["f", "g", "b", "h"]), random.word(&["1\n", "2\n"])),
    }
    let text = lines.join(random.word(&["\n", "\n", "\n", "\r\n"])) + "\n";
    state.write("Dockerfile", text);
}

//! What is different with Podman, whose API is Docker's as far as it goes.
//!
//! - It has no BuildKit: builds go through the classic form of the API (`super::classic`).
//! - Its layer cache takes a `RUN --mount=…` for unchanged though the files changed that are mounted
//!   (seen with 4.3.1; <https://github.com/podman-container-tools/buildah/issues/5400>, and 6609, 6957
//!   for later versions). Such a Dockerfile is built without layer cache, or a stale layer would be
//!   published under a new key.
//! - Before 5.0 it reads the lines of a heredoc as instructions (seen with 4.3.1 and told of 4.9.3:
//!   <https://github.com/podman-container-tools/podman/issues/25421>). Such a Dockerfile is refused.

use super::EngineKind;

/// The first version that knows heredocs.
const HEREDOCS: u32 = 5;

/// Why Podman of this version must not build a Dockerfile, if it must not.
pub(super) fn refusal(version: &str, dockerfile: &[u8]) -> Option<String> {
    if !has_heredoc(dockerfile) {
        return None;
    }
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= HEREDOCS) {
        return None;
    }
    Some(format!(
        "the Dockerfile has a heredoc, and Podman {version} takes its lines for instructions \
         (Podman 5 and Docker do not)"
    ))
}

/// Whether the engine's own layer cache can be believed.
pub(super) fn trusts_layer_cache(kind: EngineKind, dockerfile: &[u8]) -> bool {
    let mount = b"--mount";
    kind != EngineKind::Podman
        || !dockerfile.windows(mount.len()).any(|window| window.eq_ignore_ascii_case(mount))
}

/// Whether something looks like the start of a heredoc: `<<EOF`, `<<-EOF`, `<<"EOF"`, but not `<<<`.
/// What only looks like one (`1<<x` in a shell) is refused as well: better than built wrong.
fn has_heredoc(dockerfile: &[u8]) -> bool {
    let text = String::from_utf8_lossy(dockerfile);
    text.lines().filter(|line| !line.trim_start().starts_with('#')).any(|line| {
        line.match_indices("<<").any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let rest = line[at + 2..].trim_start_matches('-').trim_start_matches(['"', '\'']);
            let word = rest.starts_with(|first: char| first.is_alphabetic() || first == '_');
            before != Some('<') && word
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heredocs_are_seen() {
        for (text, expected) in [
            ("RUN <<EOF\necho\nEOF\n", true),
            ("COPY <<-\"E\" /x\nE\n", true),
            ("RUN cat <<'_x' > /x\n", true),
            ("RUN cat <<< word\n", false),
            ("# RUN <<EOF\n", false),
            ("RUN echo $((1 << 2))\n", false),
        ] {
            assert_eq!(has_heredoc(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn only_what_podman_reads_differently_is_refused() {
        let heredoc = b"FROM x\nRUN <<EOF\nEOF\n";
        assert!(refusal("4.9.3", heredoc).unwrap().contains("4.9.3"));
        assert_eq!(refusal("5.0.0", heredoc), None);
        assert_eq!(refusal("4.3.1", b"FROM x\nRUN a\n"), None);
        assert!(!trusts_layer_cache(EngineKind::Podman, b"RUN --MOUNT=type=cache,target=/c x"));
        assert!(trusts_layer_cache(EngineKind::Docker, b"RUN --mount=target=/c x"));
        assert!(trusts_layer_cache(EngineKind::Podman, b"RUN mount"));
    }
}

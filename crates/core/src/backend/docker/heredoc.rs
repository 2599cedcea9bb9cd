//! Engines that take the lines of a heredoc for instructions. Seldom are all of them some, but where they
//! are, another image would get the key.

use dockit_hashing::dockerfile::Dockerfile;

use super::{EngineKind, podman};

/// The first Docker Engine whose BuildKit knows heredocs.
const DOCKER: u32 = 23;

/// Why this engine must not build a Dockerfile, if it must not.
pub(super) fn refusal(kind: EngineKind, version: &str, dockerfile: &[u8]) -> Option<String> {
    if kind == EngineKind::Podman {
        return podman::refusal(version, dockerfile);
    }
    // A version that is no number is one that somebody has built.
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok())?;
    if major >= DOCKER {
        return None;
    }
    let dockerfile = Dockerfile::parse(dockerfile).ok()?;
    (dockerfile.has_heredocs() && !dockerfile.names_frontend()).then(|| {
        format!(
            "the Dockerfile has a heredoc, and Docker {version} takes its lines for instructions \
             (Docker {DOCKER}.0 does not)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_engine_reads_differently_is_refused() {
        let heredoc = b"FROM x\nRUN <<EOF\nEOF\n";
        let refused = |kind, version, text: &[u8]| refusal(kind, version, text).is_some();
        for (kind, version, expected) in [
            (EngineKind::Podman, "4.9.3", true),
            (EngineKind::Podman, "unknown", true),
            (EngineKind::Podman, "5.0.0", false),
            (EngineKind::Docker, "20.10.24", true),
            (EngineKind::Docker, "23.0.0", false),
            (EngineKind::Docker, "dev", false),
        ] {
            assert_eq!(refused(kind, version, heredoc), expected, "{kind:?} {version}");
        }
        for text in ["FROM x\nRUN a\n", "FROM x\nRUN echo $((1<<x)) \"<<EOF\"\n"] {
            assert!(!refused(EngineKind::Docker, "20.10.24", text.as_bytes()), "{text}");
        }
        let trigger = b"FROM x\nONBUILD RUN <<EOF\nEOF\n";
        assert!(refused(EngineKind::Docker, "20.10.24", trigger));
        let named = [b"# syntax=docker/dockerfile:1\n", &heredoc[..]].concat();
        assert!(!refused(EngineKind::Docker, "20.10.24", &named));
        assert!(refused(EngineKind::Podman, "4.3.1", &named), "Podman reads it itself");
    }
}

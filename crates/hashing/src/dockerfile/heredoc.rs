//! Heredocs: which words of a line ask for one, and their bodies.

use super::error::{DockerfileError, DockerfileErrorKind};
use super::expand::{Mode, split_words};
use super::lines::{Lines, trim_line_ending};

/// `<<NAME` and the lines up to `NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// The delimiter without quotes. For `COPY` it is the file's name.
    pub(super) name: String,
    /// Whether variables in the body are expanded: the delimiter is not quoted.
    pub(super) expand: bool,
    /// Whether leading tabs are stripped: `<<-`.
    pub(super) chomp: bool,
    /// As written, with line endings.
    pub(super) body: Vec<u8>,
}

impl Heredoc {
    /// A heredoc without body, if this word asks for one.
    pub(super) fn parse(word: &str) -> Result<Option<Self>, String> {
        let Some(rest) = word.trim_start_matches(|ch: char| ch.is_ascii_digit()).strip_prefix("<<")
        else {
            return Ok(None);
        };
        let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let mode =
            Mode { raw_quotes: false, raw_escapes: false, keep_unset: true, plain_quotes: false };
        let unquoted = split_words(rest, mode)?;
        let [name] = unquoted.as_slice() else {
            return Ok(None);
        };
        let quoted = split_words(rest, Mode { raw_quotes: true, ..mode })?;
        let quotes = |word: &String| word.matches(['\'', '"']).count();
        let expand = quoted.first().map(quotes) == Some(quotes(name));
        Ok(Some(Self { name: name.clone(), expand, chomp, body: Vec::new() }))
    }

    /// The heredocs that a line asks for, in order. A line with open quotes asks for none.
    pub(super) fn in_line(line: &str) -> Result<Vec<Self>, String> {
        if !line.contains("<<") {
            return Ok(Vec::new());
        }
        let mode =
            Mode { raw_quotes: true, raw_escapes: true, keep_unset: true, plain_quotes: false };
        let words = split_words(line, mode).unwrap_or_default();
        words.iter().filter_map(|word| Self::parse(word).transpose()).collect()
    }

    /// The body, without the tabs that `<<-` strips from the beginning of each line.
    pub(super) fn content(&self) -> Vec<u8> {
        if !self.chomp {
            return self.body.clone();
        }
        let lines = self.body.split_inclusive(|byte| *byte == b'\n');
        let text = |line: &'_ [u8]| line.iter().take_while(|byte| **byte == b'\t').count();
        lines.flat_map(|line| line[text(line)..].iter().copied()).collect()
    }

    /// Reads the body from the lines that follow the instruction at line `number`.
    pub(super) fn read(
        &mut self,
        lines: &mut Lines<'_>,
        number: u32,
    ) -> Result<(), DockerfileError> {
        while let Some(line) = lines.next_physical()? {
            let mut content = trim_line_ending(line.bytes);
            if self.chomp {
                let tabs = content.iter().take_while(|byte| **byte == b'\t').count();
                content = &content[tabs..];
            }
            if content == self.name.as_bytes() {
                return Ok(());
            }
            self.body.extend_from_slice(line.bytes);
        }
        let kind = DockerfileErrorKind::UnterminatedHeredoc(self.name.clone());
        Err(DockerfileError::new(number, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heredoc_words_are_found_anywhere_in_a_line() {
        type Row<'a> = (&'a str, &'a [(&'a str, bool, bool)]);
        let table: &[Row<'_>] = &[
            ("RUN <<EOF", &[("EOF", true, false)]),
            ("RUN cat <<EOF > /f", &[("EOF", true, false)]),
            ("RUN cat << EOF", &[("EOF", true, false)]),
            ("RUN cat <<-EOF", &[("EOF", true, true)]),
            ("RUN cat <<- EOF", &[]),
            ("RUN cat <<'EOF'", &[("EOF", false, false)]),
            ("RUN cat <<\"E F\"", &[("E F", false, false)]),
            ("RUN cat 3<<EOF", &[("EOF", true, false)]),
            ("RUN cat<<EOF", &[]),
            ("RUN cat <<<EOF", &[]),
            ("RUN echo '<<EOF'", &[]),
            ("RUN echo \"a <<EOF\"", &[]),
            ("RUN echo $((1<<EOF))", &[]),
            ("RUN echo it's <<EOF", &[]),
            ("COPY <<a <<b /dir/", &[("a", true, false), ("b", true, false)]),
        ];
        for (line, expected) in table {
            let found = Heredoc::in_line(line).unwrap();
            let found: Vec<_> =
                found.iter().map(|doc| (doc.name.as_str(), doc.expand, doc.chomp)).collect();
            assert_eq!(found, *expected, "{line}");
        }
    }
}

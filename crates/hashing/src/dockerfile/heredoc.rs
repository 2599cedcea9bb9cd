//! Here-documents: `RUN <<EOF`, `COPY <<-"name" /dest`.

/// A here-document and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heredoc {
    /// The delimiter, which for `COPY` and `ADD` is also a file's name.
    pub(super) name: String,
    /// Whether variables in the body are expanded: not with a quoted delimiter.
    pub(super) expand: bool,
    /// `<<-`: leading tabs are dropped.
    pub(super) chomp: bool,
    /// The lines of the body, each with its line feed.
    pub(super) body: String,
}

impl Heredoc {
    /// Takes the next line; returns whether it was the end.
    pub(super) fn take_line(&mut self, line: &str) -> bool {
        let line = if self.chomp { line.trim_start_matches('\t') } else { line };
        if line == self.name {
            return true;
        }
        self.body.push_str(line);
        self.body.push('\n');
        false
    }
}

/// The here-documents that a logical line announces, in order. Only `ADD`, `COPY` and `RUN` have
/// any, also behind `ONBUILD`.
pub(super) fn announced(text: &str, escape: char) -> Vec<Heredoc> {
    let mut words = text.split_whitespace();
    let mut keyword = words.next().unwrap_or_default().to_ascii_lowercase();
    if keyword == "onbuild" {
        keyword = words.next().unwrap_or_default().to_ascii_lowercase();
    }
    if !matches!(keyword.as_str(), "add" | "copy" | "run") {
        return Vec::new();
    }
    let rest = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest);
    shell_words(rest, escape).iter().filter_map(|word| heredoc(word)).collect()
}

/// Words separated by unquoted blanks, with their quotes.
fn shell_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match quote {
            None if character.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if character == '\'' || character == '"' => quote = Some(character),
            Some(open) if open == character => quote = None,
            _ => {}
        }
        word.push(character);
        if character == escape && quote != Some('\'') {
            word.extend(characters.next());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `<<name`, `<<-name`, `3<<name`; the name may be quoted, and is one word.
fn heredoc(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let rest = rest.strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let quoted = rest.contains(['\'', '"', '\\']);
    let name: String = rest.chars().filter(|character| !"'\"\\".contains(*character)).collect();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    Some(Heredoc { name, expand: !quoted, chomp, body: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, bool, bool)> {
        announced(text, '\\')
            .into_iter()
            .map(|found| (found.name, found.expand, found.chomp))
            .collect()
    }

    #[test]
    fn delimiters_are_found_where_a_shell_finds_them() {
        let one = |name: &str, expand, chomp| vec![(name.to_owned(), expand, chomp)];
        assert_eq!(names("RUN <<EOF"), one("EOF", true, false));
        assert_eq!(names("RUN cat <<-EOF > f"), one("EOF", true, true));
        assert_eq!(names("run <<'EOF' sh"), one("EOF", false, false));
        assert_eq!(names("COPY <<\"a.txt\" /x"), one("a.txt", false, false));
        assert_eq!(names("ONBUILD RUN 3<<EOF"), one("EOF", true, false));
        assert_eq!(names("RUN <<A cat && <<B cat").len(), 2);
        for none in ["RUN echo '<<EOF'", "RUN cat <<<word", "ENV A=<<EOF", "RUN a<<EOF", "RUN <<"] {
            assert_eq!(names(none), [], "{none}");
        }
    }
}

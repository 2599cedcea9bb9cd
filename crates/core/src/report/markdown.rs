//! A report for people, as GitHub and GitLab show it.
//!
//! Commands, labels and output may come from anybody: from a base image, from a package's post-install
//! script. So no text of theirs is ever markup. In tables and headings everything but letters, digits
//! and a few harmless signs is a character reference, which cannot make structure (CommonMark 0.31,
//! section 2.5); output stands in a fence that is longer than any in it (section 4.5).

use std::fmt::Write as _;

use super::document::{ImageDocument, InfoEntry, LayerEntry, SizeEntry, TestEntry};

/// How many bytes of a command's output are shown; the JSON document has more of it.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// How many characters of a command are shown in a table.
const COMMAND_LIMIT: usize = 400;

/// The report as Markdown.
pub fn markdown(document: &ImageDocument) -> String {
    let mut text = format!("# {}\n\n", inline(&document.name));
    let _ = writeln!(text, "| status | {} |\n| --- | --- |", code(document.status));
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "| {name} | {value} |");
    };
    row("key", code(&document.key));
    row("reference", code(&document.reference));
    if let Some(digest) = &document.digest {
        row("digest", code(digest));
    }
    row("platform", code(&document.platform));
    row("size", sizes(document.size));
    for (name, value) in &document.labels {
        row(&format!("label {}", code(name)), code(value));
    }
    problems(&mut text, document);
    layers(&mut text, &document.layers);
    steps(&mut text, document);
    tests(&mut text, &document.tests);
    for info in &document.info {
        self::info(&mut text, info);
    }
    text
}

fn problems(text: &mut String, document: &ImageDocument) {
    if !document.problems.is_empty() {
        text.push('\n');
    }
    for problem in &document.problems {
        let _ = writeln!(text, "- {}", inline(problem));
    }
}

fn layers(text: &mut String, layers: &[LayerEntry]) {
    if layers.is_empty() {
        return;
    }
    let count = layers.iter().filter(|layer| !layer.empty).count();
    let plural = if count == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n## {count} layer{plural}\n");
    text.push_str("| # | compressed | unpacked | command |\n| ---: | ---: | ---: | --- |\n");
    let mut number = 0;
    for layer in layers {
        let (name, compressed, unpacked) = if layer.empty {
            ("–".to_owned(), "no layer".to_owned(), String::new())
        } else {
            number += 1;
            (number.to_string(), size(layer.size.compressed), size(layer.size.unpacked))
        };
        let command = layer.command.as_deref().map_or_else(|| "unknown".to_owned(), code);
        let _ = writeln!(text, "| {name} | {compressed} | {unpacked} | {command} |");
    }
}

fn steps(text: &mut String, document: &ImageDocument) {
    if document.steps.is_empty() {
        return;
    }
    text.push_str("\n## Build steps\n\n| seconds | step |\n| ---: | --- |\n");
    for step in &document.steps {
        let seconds = if step.cached { "cached".to_owned() } else { seconds(step.seconds) };
        let _ = writeln!(text, "| {seconds} | {} |", code(&step.name));
    }
}

fn tests(text: &mut String, tests: &[TestEntry]) {
    if tests.is_empty() {
        return;
    }
    text.push_str(
        "\n## Tests\n\n| result | seconds | on | command |\n| --- | ---: | --- | --- |\n",
    );
    for test in tests {
        let result = match (test.passed, test.exit_code) {
            (true, _) => "passed".to_owned(),
            (false, Some(code)) => format!("failed ({code})"),
            (false, None) => "failed".to_owned(),
        };
        let (seconds, command) = (seconds(test.seconds), code(&test.command));
        let _ = writeln!(text, "| {result} | {seconds} | {} | {command} |", test.on);
    }
}

fn info(text: &mut String, info: &InfoEntry) {
    let _ = writeln!(text, "\n## {}\n\n{}\n", inline(&info.name), code(&info.command));
    if let Some(error) = &info.error {
        let _ = writeln!(text, "{}\n", inline(error));
    }
    if !info.output.is_empty() {
        fenced(text, &info.output, info.truncated);
    }
}

/// Text of others as one line of plain text.
fn inline(text: &str) -> String {
    line(text, is_plain)
}

/// One line, in which only such characters stand for themselves.
fn line(text: &str, is_plain: fn(char) -> bool) -> String {
    let mut result = String::with_capacity(text.len());
    let mut last = ' ';
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\r' | '\t' => result.push(' '),
            other if is_hidden(other) => result.push('\u{fffd}'),
            // `www.` alone makes a link.
            '.' if last == 'w' || last == 'W' => result.push_str("&#46;"),
            // With what follows it would be a link.
            ':' if characters.peek() == Some(&'/') => result.push_str("&#58;"),
            other if is_plain(other) => result.push(other),
            other => {
                let _ = write!(result, "&#{};", u32::from(other));
            }
        }
        last = character;
    }
    result
}

/// The same in a fixed font, shortened.
fn code(text: &str) -> String {
    let mut shown: String = text.chars().take(COMMAND_LIMIT).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("<code>{}</code>", line(&shown, is_plain_in_code))
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(character, ' ' | '.' | ',' | '/' | '=' | '+' | '-' | '…')
}

/// What makes nothing of its own between tags of `code`, so that commands can be read in the file too.
fn is_plain_in_code(character: char) -> bool {
    is_plain(character) || matches!(character, ':' | ';' | '#' | '(' | ')' | '"' | '\'' | '%' | '?')
}

/// What would be obeyed and not shown: control characters, and those that turn the direction of
/// writing.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// Output as it is, in a fence that nothing in it can end.
fn fenced(text: &mut String, output: &str, truncated: bool) {
    let shown = plain_output(end(output));
    if truncated || end(output).len() < output.len() {
        text.push_str("The end of what it wrote:\n\n");
    }
    let mut longest = 0;
    let mut run = 0;
    for character in shown.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(text, "{fence}text\n{}\n{fence}", shown.trim_end_matches('\n'));
}

fn end(output: &str) -> &str {
    let mut start = output.len().saturating_sub(OUTPUT_LIMIT);
    while !output.is_char_boundary(start) {
        start += 1;
    }
    &output[start..]
}

/// Without colours and other things that terminals obey.
fn plain_output(output: &str) -> String {
    let mut result = String::with_capacity(output.len());
    let mut characters = output.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => result.push(character),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' => result.push('\n'),
            // A control sequence ends with its first character in this range (ECMA-48, 5.4).
            '\u{1b}' if characters.peek() == Some(&'[') => {
                characters.next();
                for parameter in characters.by_ref() {
                    if matches!(parameter, '@'..='~') || parameter == '\n' {
                        break;
                    }
                }
            }
            hidden if is_hidden(hidden) => result.push('\u{fffd}'),
            other => result.push(other),
        }
    }
    result
}

fn sizes(sizes: SizeEntry) -> String {
    match (sizes.compressed, sizes.unpacked) {
        (None, None) => "unknown".to_owned(),
        (Some(_), None) => format!("{} compressed", size(sizes.compressed)),
        (None, Some(_)) => format!("{} unpacked", size(sizes.unpacked)),
        (Some(_), Some(_)) => {
            format!("{} compressed, {} unpacked", size(sizes.compressed), size(sizes.unpacked))
        }
    }
}

/// Bytes in powers of ten, as registries show them.
fn size(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else {
        return "unknown".to_owned();
    };
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.2} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2} TB")
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "`a` | <b onclick=x> [l](http://x) ![i](y) @me #1 www.x.y *b* ~~s~~ $m$ \
                           &amp; \\| :+1: __u__ \u{1b}[31mred \u{202e}rtl\nnext";

    fn document(text: &str) -> ImageDocument {
        let text = || text.to_owned();
        ImageDocument {
            schema: super::super::REPORT_SCHEMA,
            name: "base".to_owned(),
            key: text(),
            reference: text(),
            digest: Some(text()),
            status: "built",
            platform: text(),
            labels: [(text(), text())].into(),
            size: SizeEntry { compressed: Some(999), unpacked: Some(1_234_567) },
            layers: vec![
                LayerEntry { command: Some(text()), ..LayerEntry::default() },
                LayerEntry { command: Some(text()), empty: true, ..LayerEntry::default() },
            ],
            steps: vec![super::super::StepEntry { name: text(), seconds: 1.25, cached: false }],
            tests: vec![TestEntry {
                command: text(),
                on: "container",
                passed: false,
                exit_code: Some(3),
                seconds: 0.5,
                output: text(),
                truncated: false,
            }],
            info: vec![InfoEntry {
                name: text(),
                command: text(),
                error: Some(text()),
                output: format!("{}\n````\n# heading\n```\n", text()),
                truncated: true,
            }],
            problems: vec![text()],
        }
    }

    #[test]
    fn no_text_of_others_is_markup() {
        let text = markdown(&document(HOSTILE));
        let (before, output) = text.split_once("`````text\n").unwrap();
        for sign in ["`", "<b", "[l]", "](", "@", "*", "~", "$", "_", "\\", "://", "www.x", "&amp;"]
        {
            assert!(!before.contains(sign), "{sign} in {before}");
        }
        let is_obeyed = |character: char| character != '\n' && is_hidden(character);
        assert!(!text.chars().any(is_obeyed), "{text:?}");
        // Every line of a table has as many cells as its head.
        let mut cells = None;
        for line in before.lines() {
            let count = line.starts_with('|').then(|| line.matches('|').count());
            if let (Some(before), Some(now)) = (cells, count) {
                assert_eq!(before, now, "{line}");
            }
            cells = count;
        }
        // Nothing in the output ends its fence.
        let inside = output.strip_suffix("\n`````\n").unwrap();
        assert!(!inside.lines().any(|line| line.starts_with("`````")), "{inside}");
        assert!(inside.contains("# heading") && inside.contains("red"), "{inside}");
        assert!(text.contains("| size | 999 B compressed, 1.23 MB unpacked |"), "{text}");
    }

    #[test]
    fn ordinary_text_is_readable() {
        let text = markdown(&document("RUN apt-get install -y python3"));
        assert!(
            text.contains(
                "| 1 | unknown | unknown | <code>RUN apt-get install -y python3</code> |"
            )
        );
        assert!(text.contains("| – | no layer |  | <code>RUN apt"), "{text}");
        assert!(text.contains("| failed (3) | 0.5 | container |"), "{text}");
        assert!(text.contains("## 1 layer\n"), "{text}");
    }

    #[test]
    fn long_output_is_cut_between_characters() {
        let mut long = document("x");
        long.info[0].output = "ä".repeat(OUTPUT_LIMIT);
        long.info[0].truncated = false;
        let text = markdown(&long);
        assert!(text.contains("The end of what it wrote"));
        assert!(text.len() < OUTPUT_LIMIT + 8 * 1024, "{}", text.len());
    }
}

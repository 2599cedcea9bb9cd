//! A run as Markdown, for the page of a job.

use std::fmt::Write as _;

use dockit_core::execute::RunReport;

use super::super::{printable, summary};
use super::{failures, is_there, reference};

/// A table of the images, and below it what went wrong, each in a fold; in at most so many bytes.
///
/// What builds wrote stands in it as HTML text, in which nothing is markup.
pub(super) fn summary(report: &RunReport, most: usize) -> String {
    let tests = report.project_tests.failure().map_or("", |_| ", project tests failed");
    let mut text = format!("### dockit: {}{tests}\n\n", summary::counts(report));
    if text.len() + 300 > most {
        // Others have filled the page: a table of nothing says less than its heading.
        return if text.len() <= most { text } else { String::new() };
    }
    text.push_str("| image | status | seconds | reference |\n| --- | --- | ---: | --- |\n");
    let mut left_out = 0;
    for image in &report.images {
        let reference =
            if is_there(image) { format!("`{}`", reference(image)) } else { String::new() };
        let row = format!(
            "| `{}` | {} | {:.1} | {reference} |\n",
            image.image,
            image.status.as_str(),
            image.seconds,
        );
        // So that there is room for a word on what is missing.
        if text.len() + row.len() + 200 > most {
            left_out += 1;
        } else {
            text.push_str(&row);
        }
    }
    for failed in failures(report) {
        let message = failed.message.as_str();
        let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
        let mut fold = format!(
            "\n<details><summary><code>{}</code> failed: {}</summary>\n\n",
            failed.what(),
            html(first)
        );
        let _ = write!(fold, "<pre>{}</pre>\n\n</details>\n", html(rest));
        if text.len() + fold.len() + 200 > most {
            left_out += 1;
        } else {
            text.push_str(&fold);
        }
    }
    if left_out > 0 {
        let _ = writeln!(text, "\n{left_out} more are in the log: there is no room for them here.");
    }
    text
}

/// The text as HTML, without control characters, but for line feeds and tabs, and without those that turn
/// the direction of writing.
fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\n' | '\t' => escaped.push(character),
            // Outside of a block these would be Markdown.
            '*' | '_' | '`' | '[' | ']' | '|' | '\\' | '!' | '#' | '~' | '@' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            other if printable::is_obeyed(other) => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use dockit_core::execute::Status;

    use super::super::samples;
    use super::*;

    #[test]
    fn a_run_is_a_table_and_folds() {
        let digest = "cd".repeat(32);
        assert_eq!(
            summary(&samples::report(), 10_000),
            format!(
                "### dockit: 1 built, 1 reused, 1 skipped, 1 failed\n\n\
                 | image | status | seconds | reference |\n\
                 | --- | --- | ---: | --- |\n\
                 | `base` | built | 12.3 | `r.example:5000/p/base@sha256:{digest}` |\n\
                 | `ci/py.test` | reused | 12.3 | `r.example:5000/p/ci/py.test@sha256:{digest}` |\n\
                 | `child` | failed | 12.3 |  |\n\
                 | `late` | skipped | 12.3 |  |\n\n\
                 <details><summary><code>child</code> failed: &#91;2/2&#93; RUN x: exit code: 1\
                 </summary>\n\n<pre>    a % b\n    ::error::evil</pre>\n\n</details>\n"
            )
        );
    }

    #[test]
    fn what_a_build_wrote_is_no_markup() {
        let evil =
            "x\n</pre></details><script>alert(1)</script>\n\n# head\n```\n| a |\x1b[0m\u{202e}\n";
        let report =
            RunReport { images: vec![samples::failed("child", evil)], ..RunReport::default() };
        let text = summary(&report, 10_000);
        assert_eq!(text.matches("</pre>").count(), 1, "{text}");
        assert!(!text.contains("<script") && !text.contains("```") && !text.contains('\x1b'));
        assert!(!text.contains("\n# head") && !text.contains('\u{202e}'));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let long = format!("x\n{}", "a line\n".repeat(1000));
        let mut images: Vec<_> =
            (0..50).map(|number| samples::failed(&format!("i{number}"), &long)).collect();
        images.extend((50..90).map(|number| samples::image(&format!("i{number}"), Status::Built)));
        let text = summary(&RunReport { images, ..RunReport::default() }, 100_000);
        assert!(text.len() <= 100_000, "{}", text.len());
        assert!(text.contains("more are in the log"), "{text}");
        assert!(text.contains("| `i89` | built"));
        for most in 0..1000 {
            let text = summary(&samples::report(), most);
            assert!(text.len() <= most, "{most}: {text}");
        }
    }
}

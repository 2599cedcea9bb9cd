//! `ONBUILD` triggers as text, as the configuration of an image holds them.

use super::Dockerfile;
use super::flags::Flag;
use super::instruction::Instruction;
use super::keyword::Keyword;

/// Parses a trigger of a base image, which runs at the `FROM` on `line`.
///
/// As in BuildKit, the text is a Dockerfile of one instruction, read with `\` as escape token, and
/// its words are expanded with the token of the file that it runs in.
///
/// # Errors
///
/// A fragment that says why it cannot be told what the trigger does.
pub(super) fn parse(text: &str, line: u32, escape: char) -> Result<Instruction, String> {
    if text.trim_start().starts_with(['#', '\u{feff}']) {
        return Err("it begins with a comment".to_owned());
    }
    let file = format!("FROM scratch\n{text}\n");
    let parsed = Dockerfile::parse(file.as_bytes()).map_err(|error| error.message())?;
    let mut instructions = match parsed.stages.stages.as_slice() {
        [stage] => stage.instructions.clone(),
        _ => return Err("it begins a stage".to_owned()),
    };
    let (Some(mut instruction), true) = (instructions.pop(), instructions.is_empty()) else {
        return Err("it is not one instruction".to_owned());
    };
    if instruction.keyword == Keyword::Onbuild {
        return Err("it is itself an ONBUILD".to_owned());
    }
    if instruction.flags.iter().any(|flag| Flag::mention(flag).is_some()) {
        return Err("it uses a stage or an image".to_owned());
    }
    instruction.line = line;
    instruction.escape = escape;
    Ok(instruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_one_instruction_of_its_own() {
        for text in ["COPY . /", "  run make", "ENV A=1 \\\n B=2", "COPY <<EOF /x\nbody\nEOF"] {
            let parsed = parse(text, 7, '`').expect(text);
            assert_eq!((parsed.line, parsed.escape), (7, '`'), "{text}");
        }
        for text in [
            "",
            "# comment",
            "COPY a /\nCOPY b /",
            "FROM a",
            "ONBUILD RUN x",
            "NONSENSE",
            "COPY --from=a /b /b",
            "RUN --mount=from=a,target=/a x",
        ] {
            assert!(parse(text, 7, '\\').is_err(), "{text}");
        }
    }
}

//! `--chmod`: octal, or symbolic as chmod(1) of BSD has it.

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const EXECUTE: u32 = 0o111;
/// What letters for classes stand for together, which sticky is no part of.
const ORDINARY: u32 = 0o6777;

/// What a `--chmod` makes of modes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chmod {
    /// This mode, whatever it was.
    Octal(u32),
    /// Changes to it, one after the other.
    Symbolic(Vec<Change>),
}

/// One change of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Set(u32),
    Clear(u32),
    /// `X`: only for directories, and for what was executable before all changes.
    SetIfExecutable(u32),
    /// `g=u` and the like: from one class to others.
    Copy {
        /// How far the bits of the class lie to the left.
        from: u32,
        to: [bool; 3],
        operator: u8,
    },
}

impl Chmod {
    /// Takes what stands behind `--chmod=`.
    ///
    /// # Errors
    ///
    /// It is no mode.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let numeric = || {
            format!("invalid chmod parameter {text:?}: it should be octal and between 0 and 07777")
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        if digits {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(numeric);
        }
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(numeric());
        }
        let changes = Parser { rest: text.as_bytes(), changes: Vec::new() }.parse();
        changes.map(Self::Symbolic).ok_or_else(|| format!("invalid chmod parameter {text:?}"))
    }

    /// The mode of directories that are made on the way to a destination.
    pub(crate) fn of_parents(&self) -> u32 {
        match self {
            Self::Octal(mode) => mode & 0o777,
            Self::Symbolic(_) => 0o755,
        }
    }

    /// What becomes of a mode.
    pub(crate) fn apply(&self, before: u32, directory: bool) -> u32 {
        let changes = match self {
            Self::Octal(mode) => return *mode,
            Self::Symbolic(changes) => changes,
        };
        let mut mode = before;
        for change in changes {
            match *change {
                Change::Set(bits) => mode |= bits,
                Change::Clear(bits) => mode &= !bits,
                Change::SetIfExecutable(bits) if directory || before & EXECUTE != 0 => mode |= bits,
                Change::SetIfExecutable(_) => {}
                Change::Copy { from, to, operator } => {
                    let value = mode >> from & 0o7;
                    for (shift, _) in [6, 3, 0].into_iter().zip(to).filter(|(_, wanted)| *wanted) {
                        match operator {
                            b'-' => mode &= !(value << shift),
                            b'+' => mode |= value << shift,
                            _ => mode = mode & !(0o7 << shift) | value << shift,
                        }
                    }
                }
            }
        }
        mode
    }
}

struct Parser<'t> {
    rest: &'t [u8],
    changes: Vec<Change>,
}

impl Parser<'_> {
    fn parse(mut self) -> Option<Vec<Change>> {
        loop {
            let mut who = self.who()?;
            // Several operators may follow one another for the same classes.
            loop {
                let operator = self.next().filter(|byte| matches!(byte, b'+' | b'-' | b'='))?;
                self.operation(operator, &mut who);
                match self.rest.first() {
                    None => return Some(self.changes),
                    Some(b',') => break,
                    Some(_) => {}
                }
            }
            self.rest = &self.rest[1..];
        }
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// The bits of the classes; none of them stands for all.
    fn who(&mut self) -> Option<u32> {
        let mut who = 0;
        loop {
            who |= match self.rest.first()? {
                b'a' => ORDINARY,
                b'u' => SET_USER | 0o700,
                b'g' => SET_GROUP | 0o070,
                b'o' => 0o007,
                _ => return Some(who),
            };
            self.rest = &self.rest[1..];
        }
    }

    fn operation(&mut self, operator: u8, who: &mut u32) {
        // As in BSD a `t` joins the classes, for the operators that follow on it only.
        *who &= !STICKY;
        let (mut bits, mut if_executable) = (0, 0);
        let mut replaced = false;
        loop {
            let others_alone = *who != 0 && *who & !0o007 == 0;
            match self.rest.first() {
                Some(b'r') => bits |= 0o444,
                Some(b'w') => bits |= 0o222,
                Some(b'x') => bits |= EXECUTE,
                Some(b'X') if operator == b'-' => bits |= EXECUTE,
                Some(b'X') => if_executable = EXECUTE,
                Some(b's') if !others_alone => bits |= SET_USER | SET_GROUP,
                Some(b't') if !others_alone => {
                    *who |= STICKY;
                    bits |= STICKY;
                }
                Some(b's' | b't') => {}
                Some(class @ (b'u' | b'g' | b'o')) => {
                    if bits != 0 {
                        self.change(operator, *who, bits);
                    }
                    if if_executable != 0 {
                        self.set_if_executable(*who, if_executable);
                    }
                    replaced |= operator == b'=';
                    (bits, if_executable) = (0, 0);
                    self.copy(*class, operator, *who);
                }
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        if bits != 0 || operator == b'=' && !replaced {
            self.change(operator, *who, bits);
        }
        if if_executable != 0 {
            self.set_if_executable(*who, if_executable);
        }
    }

    fn change(&mut self, operator: u8, who: u32, bits: u32) {
        let affected = if who == 0 { bits } else { who & bits };
        if operator == b'=' {
            self.changes.push(Change::Clear(if who == 0 { ORDINARY } else { who }));
        }
        self.changes.push(match operator {
            b'-' => Change::Clear(affected),
            _ => Change::Set(affected),
        });
    }

    fn set_if_executable(&mut self, who: u32, bits: u32) {
        let affected = if who == 0 { bits } else { who & bits };
        self.changes.push(Change::SetIfExecutable(affected));
    }

    fn copy(&mut self, class: u8, operator: u8, who: u32) {
        let from = match class {
            b'u' => 6,
            b'g' => 3,
            _ => 0,
        };
        let to = [0o400, 0o040, 0o004].map(|bit| who == 0 || who & bit != 0);
        self.changes.push(Change::Copy { from, to, operator });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_chmod_says() {
        let table: &[(&str, u32, u32, u32)] = &[
            ("644", 0o755, 0o644, 0o644),
            ("0", 0o755, 0, 0),
            ("07777", 0o644, 0o7777, 0o7777),
            ("00000755", 0o644, 0o755, 0o755),
            ("u+x", 0o644, 0o744, 0o744),
            ("+x", 0o644, 0o755, 0o755),
            ("a-w", 0o777, 0o555, 0o555),
            ("go-rwx", 0o755, 0o700, 0o700),
            ("go=", 0o4755, 0o4700, 0o4700),
            ("=rw,+X", 0o755, 0o777, 0o777),
            ("=rw,+X", 0o644, 0o666, 0o777),
            ("u=rwX,go=rX", 0o600, 0o644, 0o755),
            ("u=rwX,go=rX", 0o700, 0o755, 0o755),
            ("a-X", 0o755, 0o644, 0o644),
            ("g=u", 0o640, 0o660, 0o660),
            ("o=g-w", 0o660, 0o664, 0o664),
            ("u=rwx,go=u-w", 0o000, 0o755, 0o755),
            ("g+u", 0o710, 0o770, 0o770),
            ("o-u", 0o457, 0o453, 0o453),
            ("u+s", 0o755, 0o4755, 0o4755),
            ("g+s", 0o755, 0o2755, 0o2755),
            ("+s", 0o755, 0o6755, 0o6755),
            ("o+s", 0o755, 0o755, 0o755),
            ("+t", 0o777, 0o1777, 0o1777),
            ("o+t", 0o777, 0o777, 0o777),
            ("u+t", 0o777, 0o1777, 0o1777),
            // A `t` alone is then what the operator is for.
            ("+xt", 0o644, 0o1644, 0o1644),
            ("=", 0o7777, 0o1000, 0o1000),
            ("u=rw+x", 0o000, 0o700, 0o700),
        ];
        for (text, before, file, directory) in table {
            let chmod = Chmod::parse(text).expect(text);
            assert_eq!(chmod.apply(*before, false), *file, "{text} of a file");
            assert_eq!(chmod.apply(*before, true), *directory, "{text} of a directory");
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "8", "10000", "77777777777", "0o7", "7z", "z", "u", "u+x,", "u+z", ",u+x"]
        {
            Chmod::parse(text).expect_err(text);
        }
    }

    #[test]
    fn the_bits_of_octal_modes_beyond_permissions_do_not_reach_parents() {
        assert_eq!(Chmod::parse("4711").expect("a mode").of_parents(), 0o711);
        assert_eq!(Chmod::parse("g+s").expect("a mode").of_parents(), 0o755);
    }
}

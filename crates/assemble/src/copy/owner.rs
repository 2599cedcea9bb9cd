//! `--chown` and `USER`: from words to numbers.

use std::io::{self, Write};

use crate::error::{AssembleError, AssembleErrorKind};
use crate::tree::{FileNode, NodeKind, Tree};

const PASSWD: &[u8] = b"etc/passwd";
const GROUP: &[u8] = b"etc/group";

/// Bytes of the largest file of users or groups that BuildKit reads.
const LARGEST_FILE: usize = 10 << 20;
const LONGEST_USER_LINE: usize = 64 << 10;
const LONGEST_GROUP_LINE: usize = 1 << 20;

/// A user and a group, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u64,
    pub(crate) gid: u64,
}

/// Where the names of users and groups are looked up.
#[derive(Clone, Copy)]
pub(crate) enum Accounts<'t> {
    /// In the files that the instruction finds.
    Of(&'t Tree),
    /// There is nothing yet, or the instruction does not look at it: BuildKit then takes numbers only.
    Nowhere,
}

impl Owner {
    /// Takes `USER[:GROUP]`. Without a group it is the user's own for a name, and for a number the same
    /// number. A name that nobody has stands for root, and a group's for the user's own, as for BuildKit.
    ///
    /// # Errors
    ///
    /// There is a name and nowhere to look, or the file where it would stand cannot be read.
    pub(crate) fn parse(text: &str, accounts: Accounts<'_>) -> Result<Self, AssembleError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let mut owner = match number(user) {
            Some(uid) => Self { uid, gid: uid },
            None => {
                let line = look_up(accounts, PASSWD, user, LONGEST_USER_LINE, |_| true)?;
                let found = line.map(|line| Self { uid: field(&line, 2), gid: field(&line, 3) });
                found.unwrap_or(Self { uid: 0, gid: 0 })
            }
        };
        if let Some(group) = group {
            let found = match number(group) {
                Some(gid) => Some(gid),
                None => {
                    let no_comment = |line: &[u8]| !line.starts_with(b"#");
                    let line = look_up(accounts, GROUP, group, LONGEST_GROUP_LINE, no_comment)?;
                    line.map(|line| field(&line, 2))
                }
            };
            owner.gid = found.unwrap_or(owner.gid);
        }
        Ok(owner)
    }
}

/// A number, or a word that stands for one everywhere.
fn number(word: &str) -> Option<u64> {
    if matches!(word, "" | "root") {
        return Some(0);
    }
    // A negative one is taken for the unsigned one of the same bits.
    word.parse::<i32>().ok().map(|number| u64::from(number.cast_unsigned()))
}

/// The first line of an account's name.
fn look_up(
    accounts: Accounts<'_>,
    path: &[u8],
    name: &str,
    longest: usize,
    counts: impl Fn(&[u8]) -> bool,
) -> Result<Option<Vec<u8>>, AssembleError> {
    let fail = |message: String| AssembleError::new(AssembleErrorKind::Instruction, message);
    let Accounts::Of(tree) = accounts else {
        return Err(fail(format!("there is no file to look up the name {name:?} in")));
    };
    let shown = path.escape_ascii();
    let resolved = tree.resolve(path).map_err(|error| fail(error.to_string()))?;
    let file = match tree.get(&resolved).map(|node| &node.kind) {
        None => return Ok(None),
        Some(NodeKind::File(file)) => file,
        Some(_) => return Err(fail(format!("/{shown} is no regular file"))),
    };
    let text = read(file)?.ok_or_else(|| fail(format!("/{shown} is larger than 10 MiB")))?;
    for line in text.split(|byte| *byte == b'\n') {
        if line.len() >= longest {
            return Err(fail(format!("/{shown} has a line of {longest} bytes or more")));
        }
        let line = line.trim_ascii();
        let first = line.split(|byte| *byte == b':').next();
        if !line.is_empty() && counts(line) && first == Some(name.as_bytes()) {
            return Ok(Some(line.to_vec()));
        }
    }
    Ok(None)
}

/// A field that is a number; one that is not counts as 0.
fn field(line: &[u8], position: usize) -> u64 {
    let field = line.split(|byte| *byte == b':').nth(position);
    let number = field.and_then(|field| std::str::from_utf8(field).ok()?.parse::<i64>().ok());
    // As the kernel takes it.
    u64::from(number.map_or(0, |number| number as u32))
}

/// The content of a file; none if it is too large.
fn read(file: &FileNode) -> Result<Option<Vec<u8>>, AssembleError> {
    struct Bounded(Vec<u8>);

    impl Write for Bounded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() + bytes.len() > LARGEST_FILE {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    if file.size > LARGEST_FILE as u64 {
        return Ok(None);
    }
    let mut text = Bounded(Vec::new());
    file.content
        .write_to(&mut text)
        .map_err(|error| AssembleError::from_io(AssembleErrorKind::Image, error))?;
    Ok(Some(text.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::testing::{file, link};

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\n  app:x:1000:1001::/:\nodd:x:y\nodd:x:5:5\n\
                      nobody:x:-2:65534\n";
        tree.put(b"files/passwd", file(passwd)).expect("short");
        tree.put(b"etc/passwd", link("../../files/passwd")).expect("short");
        tree.put(b"etc/group", file("#app:x:9\nroot:x:0:\napp:x:1002:a,b\n")).expect("short");
        tree
    }

    #[test]
    fn words_become_numbers() {
        let tree = tree();
        for (text, uid, gid) in [
            ("0", 0, 0),
            ("1000", 1000, 1000),
            ("+7", 7, 7),
            ("1000:5", 1000, 5),
            ("root", 0, 0),
            ("5:root", 5, 0),
            ("app", 1000, 1001),
            ("app:app", 1000, 1002),
            ("app:5", 1000, 5),
            ("7:app", 7, 1002),
            ("", 0, 0),
            (":app", 0, 1002),
            ("app:", 1000, 0),
            ("app:nobody", 1000, 1001),
            ("whoever", 0, 0),
            ("whoever:app", 0, 1002),
            ("odd", 0, 0),
            ("nobody", 4_294_967_294, 65534),
            ("2147483648", 0, 0),
        ] {
            let owner = Owner::parse(text, Accounts::Of(&tree)).expect(text);
            assert_eq!(owner, Owner { uid, gid }, "{text}");
        }
    }

    #[test]
    fn names_are_looked_up_where_there_is_something_to_look_at() {
        let none = Tree::default();
        let owner = Owner::parse("app:app", Accounts::Of(&none)).expect("root");
        assert_eq!(owner, Owner { uid: 0, gid: 0 });
        let owner = Owner::parse("5:root", Accounts::Nowhere).expect("numbers");
        assert_eq!(owner, Owner { uid: 5, gid: 0 });
        for text in ["app", "5:app"] {
            Owner::parse(text, Accounts::Nowhere).expect_err(text);
        }
        let mut tree = Tree::default();
        tree.put(b"etc/passwd/x", file("")).expect("short");
        Owner::parse("app", Accounts::Of(&tree)).expect_err("a directory");
        tree.put(b"etc/passwd", link("passwd")).expect("short");
        Owner::parse("app", Accounts::Of(&tree)).expect_err("a circle");
        tree.put(b"etc/passwd", file(&"x".repeat(70_000))).expect("short");
        Owner::parse("app", Accounts::Of(&tree)).expect_err("a long line");
    }
}

//! Build arguments, and what is published of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Validator;
use crate::config::reader::Located;
use crate::secret_name::{holds_a_secret, names_a_secret};

/// The build arguments of an image as they are written.
pub(super) struct Written {
    pub(super) args: BTreeMap<String, Located<String>>,
    pub(super) unkeyed: BTreeMap<String, Located<String>>,
    pub(super) from_environment: Vec<Located<String>>,
}

/// The build arguments of an image.
pub(super) struct Arguments {
    pub(super) args: BTreeMap<String, String>,
    pub(super) unkeyed: BTreeMap<String, String>,
    pub(super) from_environment: BTreeSet<String>,
}

impl Validator<'_> {
    /// Each name once, with the environment's values. `public` are names that are no secrets.
    pub(super) fn arguments(&mut self, written: Written, public: &BTreeSet<String>) -> Arguments {
        let Written { args, unkeyed, from_environment } = written;
        for (name, value) in args.iter().chain(&unkeyed) {
            self.argument_name(name, value.line, public);
            self.argument_value(name, value, public);
        }
        for (name, value) in &unkeyed {
            if args.contains_key(name) {
                let message = format!("argument {name:?} is both in args and in unkeyed-args");
                self.problem(value.line, message);
            }
        }
        let values = |map: &BTreeMap<String, Located<String>>| {
            map.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
        };
        let mut arguments = Arguments {
            args: values(&args),
            unkeyed: values(&unkeyed),
            from_environment: BTreeSet::new(),
        };
        for Located { value: name, line } in from_environment {
            self.argument_name(&name, line, public);
            for (known, key) in [(&args, "args"), (&unkeyed, "unkeyed-args")] {
                if known.contains_key(&name) {
                    let message = format!("argument {name:?} is both in env-args and in {key}");
                    self.problem(line, message);
                }
            }
            if let Some(value) = self.options.environment.and_then(|lookup| lookup(&name)) {
                match value.into_string() {
                    Ok(value) => {
                        let value = Located { value, line };
                        self.argument_value(&name, &value, public);
                        let value = value.value;
                        arguments.args.insert(name.clone(), value);
                    }
                    Err(_) => self.problem(
                        line,
                        format!("the value of {name} in the environment is not UTF-8"),
                    ),
                }
            }
            arguments.from_environment.insert(name);
        }
        arguments
    }

    fn argument_name(&mut self, name: &str, line: usize, public: &BTreeSet<String>) {
        if !is_argument_name(name) {
            self.problem(line, format!("{name:?} cannot be the name of a build argument"));
        } else if names_a_secret(name) && !public.contains(name) {
            self.warn(
                line,
                format!(
                    "argument {name:?} is named like a secret, and the values of build arguments \
                     stand in the image's history; if it is none, publish-args may name it"
                ),
            );
        }
    }

    /// What a name does not say.
    fn argument_value(&mut self, name: &str, value: &Located<String>, public: &BTreeSet<String>) {
        if holds_a_secret(&value.value) && !names_a_secret(name) && !public.contains(name) {
            self.warn(
                value.line,
                format!(
                    "the value of argument {name:?} is a URL with credentials, and the values of \
                     build arguments stand in the image's history; if they are none, publish-args \
                     may name it"
                ),
            );
        }
    }

    /// Names whose values are published.
    pub(super) fn publish_args(&mut self, written: Vec<Located<String>>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for Located { value, line } in written {
            if is_argument_name(&value) {
                names.insert(value);
            } else {
                self.problem(line, format!("{value:?} cannot be the name of a build argument"));
            }
        }
        names
    }

    /// Whether listings of inputs are published.
    pub(super) fn publish_inputs(&mut self, written: Option<Located<String>>) -> Option<bool> {
        let written = written?;
        match written.value.as_str() {
            "listing" => Some(true),
            "none" => Some(false),
            other => {
                let message =
                    format!("publish-inputs must be \"listing\" or \"none\", not {other:?}");
                self.suggest_near(written.line, message, other, &["listing", "none"]);
                None
            }
        }
    }
}

pub(in crate::config) fn is_argument_name(name: &str) -> bool {
    let valid = name.bytes().enumerate().all(|(index, byte)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    });
    valid && !name.is_empty()
}

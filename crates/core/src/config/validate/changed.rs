//! Patterns over the files of a range of commits.

use dockit_hashing::context::ignore::IgnoreRules;

use super::Validator;
use crate::changed::ChangedSettings;
use crate::config::reader::Located;
use crate::config::schema::ChangedTable;

impl Validator<'_> {
    pub(super) fn changed(&mut self, table: ChangedTable) -> ChangedSettings {
        ChangedSettings {
            ignore: self.patterns("ignore", &table.ignore),
            all: self.patterns("all", &table.all),
        }
    }

    /// Each pattern by itself, so that a mistake has its line, and then all as one list, because an
    /// exception counts against those before it.
    fn patterns(&mut self, key: &str, patterns: &[Located<String>]) -> IgnoreRules {
        let mut text = String::new();
        for Located { value, line } in patterns {
            let plain = !value.trim().is_empty() && !value.contains(['\n', '\r']);
            match IgnoreRules::parse(value.as_bytes()) {
                _ if !plain || value.starts_with('#') => {
                    self.problem(*line, format!("{key}: {value:?} is no pattern"));
                }
                Err(error) => self.problem(*line, format!("{key}: {value:?}: {}", error.reason())),
                Ok(_) => {
                    text.push_str(value);
                    text.push('\n');
                }
            }
        }
        // What was read one by one can be read together.
        IgnoreRules::parse(text.as_bytes()).unwrap_or_default()
    }
}

//! Moving tags, and what their placeholders stand for.

use super::Validator;
use crate::config::reader::Located;
use crate::config::schema::DeclaredTable;
use crate::tag_prefix::TagPrefix;
use crate::tag_template::{Placeholder, TagTemplate};
use crate::version::VersionSource;

impl Validator<'_> {
    /// The prefix is none where the image has none, and an inner none where it has a wrong one.
    pub(super) fn tags(
        &mut self,
        written: Vec<Located<String>>,
        prefix: Option<&Option<TagPrefix>>,
    ) -> Vec<TagTemplate> {
        let mut tags: Vec<TagTemplate> = Vec::new();
        for Located { value, line } in written {
            let template = match value.parse::<TagTemplate>() {
                Ok(template) => template,
                Err(error) => {
                    self.suggest(line, error.message, error.suggestion);
                    continue;
                }
            };
            if tags.contains(&template) {
                self.problem(line, format!("tag {value:?} is there twice"));
                continue;
            }
            let needs = template.placeholders();
            if needs.contains(&Placeholder::Version) && !self.has_version {
                let message = format!(
                    "tag {value:?} needs a version: [project] has none, such as version = {{ file = \
                     \"pyproject.toml\" }}"
                );
                self.problem(line, message);
            }
            match prefix {
                None if needs.contains(&Placeholder::Prefix) => {
                    self.problem(line, format!("tag {value:?} needs a tag-prefix of the image"));
                }
                Some(Some(prefix))
                    if template.is_fixed() && template.fixed(Some(prefix)).is_none() =>
                {
                    let prefix = prefix.as_str();
                    let message =
                        format!("{value:?} can never be a tag with the tag-prefix {prefix:?}");
                    self.problem(line, message);
                }
                _ => {}
            }
            tags.push(template);
        }
        tags
    }

    pub(super) fn version(&mut self, written: Located<DeclaredTable>) -> Option<VersionSource> {
        let Located { value: table, line } = written;
        let Some(file) = table.file else {
            self.problem(line, "version names no file");
            return None;
        };
        let file = self.project_path(&file)?;
        let pick = self.pick("version", &file, table.pattern, table.field, line)?;
        Some(VersionSource::new(file, pick))
    }

    pub(super) fn default_branch(&mut self, written: Located<String>) -> Option<String> {
        if written.value.is_empty() {
            self.problem(written.line, "default-branch must name a branch");
            return None;
        }
        if let Some(name) = written.value.strip_prefix("refs/heads/") {
            let message = "default-branch is written without \"refs/heads/\"";
            self.suggest(written.line, message, Some(name.to_owned()));
            return None;
        }
        Some(written.value)
    }
}

//! Which references in files are kept true.

use std::collections::BTreeMap;

use super::Validator;
use crate::config::problem::nearest;
use crate::config::reader::Located;
use crate::config::schema::PinTable;
use crate::image_name::ImageName;
use crate::pin::field::Field;
use crate::pin::rule::{FilePatterns, PinForm, PinPattern, PinRule};
use crate::project::Image;

impl Validator<'_> {
    pub(super) fn pins(
        &mut self,
        written: Vec<Located<PinTable>>,
        images: &BTreeMap<ImageName, Image>,
    ) -> Vec<PinRule> {
        written.into_iter().filter_map(|rule| self.pin(rule, images)).collect()
    }

    fn pin(
        &mut self,
        written: Located<PinTable>,
        images: &BTreeMap<ImageName, Image>,
    ) -> Option<PinRule> {
        let Located { value: table, line } = written;
        if table.files.is_empty() {
            self.problem(line, "pin names no files");
        }
        let files = table.files.iter().filter_map(|pattern| {
            let checked = FilePatterns::check(&pattern.value);
            checked
                .map_err(|error| {
                    let message = format!("{:?} is no pattern of files: {error}", pattern.value);
                    self.problem(pattern.line, message);
                })
                .ok()?;
            Some(pattern.value.clone())
        });
        let files = FilePatterns::new(files.collect());
        let image = match &table.image {
            Some(name) => Some(self.pinned_image(name, images)?),
            None => None,
        };
        let run = match table.run {
            Some(run) => {
                let (line, command) = (run.line(), self.command_line(run));
                if command.is_none() {
                    self.problem(line, "run is empty");
                }
                command
            }
            None => None,
        };
        let of_one = |what: &str| format!("{what} is for a rule with a pattern or a field");
        let form = match (table.pattern, table.field) {
            (Some(_), Some(field)) => {
                self.problem(field.line, "a rule has a pattern or a field, and not both");
                return None;
            }
            (Some(pattern), None) => match PinPattern::new(&pattern.value, image) {
                Ok(rule) => PinForm::Pattern(rule.expecting(table.expect)),
                Err(error) => {
                    self.problem(pattern.line, error);
                    return None;
                }
            },
            (None, Some(field)) => {
                let Some(image) = image else {
                    self.problem(line, "a field says nothing of its image: add image = \"NAME\"");
                    return None;
                };
                match Field::new(&field.value) {
                    Ok(path) => PinForm::Field { path, image },
                    Err(error) => {
                        let message = format!("{:?} is no field: {error}", field.value);
                        self.problem(field.line, message);
                        return None;
                    }
                }
            }
            (None, None) => {
                if let Some(image) = &table.image {
                    self.problem(image.line, of_one("image"));
                }
                if table.expect.is_some() {
                    self.problem(line, of_one("expect"));
                }
                PinForm::References { tags: table.tags.unwrap_or(false) }
            }
        };
        if table.tags.is_some() && !matches!(form, PinForm::References { .. }) {
            self.problem(line, "tags is for a rule without a pattern or a field");
        }
        Some(PinRule { files, form, run, line })
    }

    fn pinned_image(
        &mut self,
        name: &Located<String>,
        images: &BTreeMap<ImageName, Image>,
    ) -> Option<ImageName> {
        let known = || images.values().filter(|image| !image.is_part()).map(|image| &image.name);
        let found = known().find(|image| image.as_str() == name.value).cloned();
        if found.is_none() {
            let suggestion = nearest(&name.value, known().map(ImageName::as_str));
            self.suggest(
                name.line,
                format!("pin names the unknown image {:?}", name.value),
                suggestion,
            );
        }
        found
    }
}

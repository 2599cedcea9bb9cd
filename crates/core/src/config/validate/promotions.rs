//! Promotions.

use std::collections::{BTreeMap, BTreeSet};

use super::Validator;
use crate::config::problem::nearest;
use crate::config::reader::Located;
use crate::config::schema::{GateTable, PromotionTable};
use crate::image_name::ImageName;
use crate::project::Image;
use crate::promote::{GATE_TIMEOUT, Gate, Predecessor, Promotion, PromotionSource};
use crate::selection::is_glob;
use crate::tag_template::{Placeholder, TagTemplate};

impl Validator<'_> {
    pub(super) fn promotions(
        &mut self,
        written: BTreeMap<String, Located<PromotionTable>>,
        images: &BTreeMap<ImageName, Image>,
    ) -> BTreeMap<String, Promotion> {
        let names: BTreeSet<String> = written.keys().cloned().collect();
        let lines: BTreeMap<String, usize> =
            written.iter().map(|(name, table)| (name.clone(), table.line)).collect();
        let promotions: BTreeMap<String, Promotion> = written
            .into_iter()
            .map(|(name, table)| (name.clone(), self.promotion(name, table, &names, images)))
            .collect();
        for name in promotions.keys().filter(|name| comes_before_itself(name, &promotions)) {
            self.problem(lines[name], format!("promotion {name} would have to come before itself"));
        }
        promotions
    }

    fn promotion(
        &mut self,
        name: String,
        written: Located<PromotionTable>,
        names: &BTreeSet<String>,
        images: &BTreeMap<ImageName, Image>,
    ) -> Promotion {
        let Located { value: table, line } = written;
        if name.trim().is_empty() {
            self.problem(line, "a promotion needs a name");
        }
        let problems = self.problems.len();
        // Images without a prefix get the tag without its place.
        let tags = self.tags(table.tags, Some(&None));
        if tags.is_empty() && self.problems.len() == problems {
            self.problem(line, format!("promotion {name} puts no tag: `tags` names them"));
        }
        let from = match table.from {
            None => PromotionSource::Lock,
            Some(from) if from.value == "lock" => PromotionSource::Lock,
            Some(from) => match self.template(&from) {
                Some(tag) => PromotionSource::Tag(tag),
                None => PromotionSource::Lock,
            },
        };
        let selected = table.images.iter().filter(|selected| self.is_known(selected, images));
        let selected: Vec<String> = selected.map(|selected| selected.value.clone()).collect();
        for wrong in &table.images {
            if !selected.contains(&wrong.value) {
                let known = images.keys().map(ImageName::as_str);
                let suggestion = nearest(&wrong.value, known);
                let message = format!("no image is called {:?}", wrong.value);
                self.suggest(wrong.line, message, suggestion);
            }
        }
        let after = table.after.iter().filter_map(|text| {
            if names.contains(&text.value) {
                return Some(Predecessor::Promotion(text.value.clone()));
            }
            self.template(text).map(Predecessor::Tag)
        });
        let after = after.collect();
        let branch = table.branch.filter(|branch| {
            if branch.value.is_empty() {
                self.problem(branch.line, "branch must name a branch");
            }
            if let Some(name) = branch.value.strip_prefix("refs/heads/") {
                let message = "branch is written without \"refs/heads/\"";
                self.suggest(branch.line, message, Some(name.to_owned()));
            }
            true
        });
        let gates = self.gates(table.gates);
        Promotion {
            name,
            tags,
            from,
            images: selected,
            after,
            branch: branch.map(|branch| branch.value),
            clean: table.clean.unwrap_or(false),
            gates,
        }
    }

    fn template(&mut self, text: &Located<String>) -> Option<TagTemplate> {
        let template = match text.value.parse::<TagTemplate>() {
            Ok(template) => template,
            Err(error) => {
                self.suggest(text.line, error.message, error.suggestion);
                return None;
            }
        };
        if template.placeholders().contains(&Placeholder::Version) && !self.has_version {
            self.problem(
                text.line,
                format!("{:?} needs a version: [project] has none", text.value),
            );
        }
        Some(template)
    }

    fn is_known(&self, selected: &Located<String>, images: &BTreeMap<ImageName, Image>) -> bool {
        is_glob(&selected.value) || images.keys().any(|name| name.as_str() == selected.value)
    }

    fn gates(&mut self, written: Vec<Located<GateTable>>) -> Vec<Gate> {
        let mut gates: Vec<Gate> = Vec::new();
        for Located { value: table, line } in written {
            let name = table.name.map(|name| name.value).unwrap_or_default();
            if name.trim().is_empty() {
                self.problem(line, "a gate needs a name, by which it can be skipped");
            } else if gates.iter().any(|gate| gate.name == name) {
                self.problem(line, format!("gate {name:?} is there twice"));
            }
            let timeout = table.timeout.and_then(|timeout| self.time_limit(&timeout));
            let timeout = timeout.unwrap_or(GATE_TIMEOUT);
            match table.run.and_then(|run| self.command_line(run)) {
                Some(command) => gates.push(Gate { name, command, timeout }),
                None => self.problem(line, "a gate needs a command to run"),
            }
        }
        gates
    }
}

/// Whether a promotion follows from itself.
fn comes_before_itself(name: &str, promotions: &BTreeMap<String, Promotion>) -> bool {
    let before = |name: &str| {
        let after = promotions.get(name).map(|promotion| promotion.after.as_slice());
        after.unwrap_or_default().iter().filter_map(|one| match one {
            Predecessor::Promotion(name) => Some(name.as_str()),
            Predecessor::Tag(_) => None,
        })
    };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut next: Vec<&str> = before(name).collect();
    while let Some(one) = next.pop() {
        if one == name {
            return true;
        }
        if seen.insert(one) {
            next.extend(before(one));
        }
    }
    false
}

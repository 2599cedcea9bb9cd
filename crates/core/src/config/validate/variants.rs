//! From tables to images: each variant is an image of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::super::merge::merged;
use super::super::problem::nearest;
use super::super::reader::Located;
use super::super::schema::ImageTable;
use super::Validator;
use crate::image_name::{ImageName, InvalidImageName};
use crate::variant::{VariantName, VariantOf};

/// One image as it is written, with everything that it takes over.
pub(super) struct Declared {
    /// None if what is written is no name.
    pub(super) name: Option<ImageName>,
    pub(super) variant: Option<VariantOf>,
    pub(super) table: ImageTable,
    /// Arguments that come from what is said for all images.
    pub(super) common_args: BTreeSet<String>,
    pub(super) line: usize,
}

type Tables = BTreeMap<String, Located<ImageTable>>;

impl Validator<'_> {
    /// Every image and every variant, by precedence: the project's arguments, `[images.NAME]`,
    /// `[variants.V]`, `[images.NAME.variants.V]`.
    pub(super) fn declared(
        &mut self,
        project: &ImageTable,
        images: Tables,
        shared: &Tables,
    ) -> Vec<Declared> {
        let shared: BTreeMap<VariantName, &Located<ImageTable>> = shared
            .iter()
            .filter_map(|(name, table)| Some((self.variant_name(name, table.line)?, table)))
            .collect();
        let mut used = BTreeSet::new();
        let mut all = Vec::new();
        for (name, Located { value: mut table, line }) in images {
            let name = self.image_name(Located { value: name, line });
            let own: BTreeMap<VariantName, Located<ImageTable>> =
                std::mem::take(&mut table.variants)
                    .into_iter()
                    .filter_map(|(name, table)| {
                        Some((self.variant_name(&name, table.line)?, table))
                    })
                    .collect();
            let excluded = self.excluded(&mut table, &own, &shared);
            let only_variants = table.only_variants.take().filter(|only| only.value);
            let wanted: BTreeSet<&VariantName> =
                own.keys().chain(shared.keys().filter(|name| !excluded.contains(*name))).collect();
            if let Some(only) = &only_variants
                && wanted.is_empty()
            {
                self.problem(only.line, "only-variants leaves no image, as there is no variant");
            }
            let common = |overs: &[&ImageTable], shared: Option<&ImageTable>| {
                let mut names = argument_names(project);
                // In the order of precedence: what an image says itself is its own.
                names.retain(|name| !argument_names(&table).contains(name));
                names.extend(shared.into_iter().flat_map(argument_names));
                names.retain(|name| !overs.iter().any(|over| argument_names(over).contains(name)));
                names
            };
            let base = merged(project.clone(), table.clone());
            if let Some(image) = &name {
                for variant in wanted {
                    let shared = shared.get(variant).copied();
                    let own = own.get(variant);
                    used.extend(shared.map(|_| variant.clone()));
                    let mut table = base.clone();
                    for over in shared.into_iter().chain(own) {
                        table = merged(table, over.value.clone());
                    }
                    let overs: Vec<&ImageTable> = own.map(|own| &own.value).into_iter().collect();
                    all.push(Declared {
                        name: Some(variant.of(image)),
                        variant: Some(VariantOf { image: image.clone(), variant: variant.clone() }),
                        table,
                        common_args: common(&overs, shared.map(|shared| &shared.value)),
                        line: own.map_or(line, |own| own.line),
                    });
                }
            }
            if only_variants.is_none() {
                let common_args = common(&[], None);
                all.push(Declared { name, variant: None, table: base, common_args, line });
            }
        }
        for (name, table) in &shared {
            if !used.contains(name) && !all.is_empty() {
                self.warn(table.line, format!("no image has the variant {:?}", name.as_str()));
            }
        }
        self.names_differ(&all);
        all
    }

    /// The name of a table: a part's is made.
    fn image_name(&mut self, written: Located<String>) -> Option<ImageName> {
        let line = written.line;
        let name = self.parsed::<ImageName>(written)?;
        if name.is_part() {
            self.problem(line, InvalidImageName(name.to_string()).to_string());
            return None;
        }
        Some(name)
    }

    fn variant_name(&mut self, name: &str, line: usize) -> Option<VariantName> {
        self.parsed(Located { value: name.to_owned(), line })
    }

    /// The shared variants that an image does not have.
    fn excluded(
        &mut self,
        table: &mut ImageTable,
        own: &BTreeMap<VariantName, Located<ImageTable>>,
        shared: &BTreeMap<VariantName, &Located<ImageTable>>,
    ) -> BTreeSet<VariantName> {
        let mut excluded = BTreeSet::new();
        for Located { value, line } in table.exclude_variants.take().unwrap_or_default() {
            if value == "*" {
                excluded.extend(shared.keys().cloned());
            } else if own.keys().any(|name| name.as_str() == value) {
                let message = format!("variant {value:?} is both excluded and the image's own");
                self.problem(line, message);
            } else if let Some(name) = shared.keys().find(|name| name.as_str() == value) {
                excluded.insert(name.clone());
            } else {
                let suggestion = nearest(&value, shared.keys().map(VariantName::as_str));
                let message = format!("exclude-variants names the unknown variant {value:?}");
                self.suggest(line, message, suggestion);
            }
        }
        excluded
    }

    /// `a` with the variant `b-c` and `a-b` with `c` would be one image.
    fn names_differ(&mut self, all: &[Declared]) {
        let described = |declared: &Declared| match &declared.variant {
            Some(VariantOf { image, variant }) => {
                format!("variant {:?} of image {:?}", variant.as_str(), image.as_str())
            }
            None => "an image".to_owned(),
        };
        let mut seen: BTreeMap<&ImageName, &Declared> = BTreeMap::new();
        for declared in all {
            let Some(name) = &declared.name else {
                continue;
            };
            if let Some(other) = seen.insert(name, declared) {
                let (first, last) =
                    if other.line < declared.line { (other, declared) } else { (declared, other) };
                let message = format!(
                    "{:?} is both {} (line {}) and {}",
                    name.as_str(),
                    described(first),
                    first.line,
                    described(last)
                );
                self.problem(last.line, message);
            }
        }
    }
}

fn argument_names(table: &ImageTable) -> BTreeSet<String> {
    let from_environment = table.env_args.iter().flatten().map(|name| name.value.clone());
    table.args.keys().chain(table.unkeyed_args.keys()).cloned().chain(from_environment).collect()
}

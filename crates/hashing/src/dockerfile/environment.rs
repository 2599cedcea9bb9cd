//! What variables hold while the instructions of a stage run.

use std::collections::BTreeMap;

use super::expand::Variable;
use super::image_config::ImageConfig;

/// The variables of a stage. A value of `None` depends on the environment of the base image.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// Set by `ENV` and `ARG`.
    variables: BTreeMap<String, Option<String>>,
    /// Set by `ENV` alone, in a base image or here: what goes into the image.
    image: BTreeMap<String, Option<String>>,
    /// Whether a base image may set variables that neither it nor an instruction is known to set.
    has_base_image: bool,
}

impl Environment {
    /// Of a stage whose base is an image.
    pub(super) fn of_image() -> Self {
        Self { has_base_image: true, ..Self::default() }
    }

    /// Of a stage whose base is an image with this configuration.
    pub(super) fn of_config(config: &ImageConfig) -> Self {
        let image: BTreeMap<_, _> =
            config.env().map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).collect();
        Self { variables: image.clone(), image, has_base_image: config.may_set_more() }
    }

    /// The variables that go into the image, and whether it may have more.
    pub(super) fn into_image(self) -> (BTreeMap<String, Option<String>>, bool) {
        (self.image, self.has_base_image)
    }

    /// Of a stage whose base is the stage with this environment.
    ///
    /// The variables of the base's image are set anew, and so win over the base's `ARG`.
    pub(super) fn inherit(&self) -> Self {
        let mut inherited = self.clone();
        for (name, value) in &mut inherited.variables {
            match self.image.get(name) {
                Some(image) => value.clone_from(image),
                None if self.has_base_image => *value = None,
                None => {}
            }
        }
        inherited
    }

    pub(super) fn set_arg(&mut self, name: &str, value: Option<String>) {
        self.variables.insert(name.to_owned(), value);
    }

    pub(super) fn set_env(&mut self, name: String, value: Option<String>) {
        self.image.insert(name.clone(), value.clone());
        self.variables.insert(name, value);
    }

    /// After an `ENV` whose name is not known: any variable may have changed.
    pub(super) fn forget(&mut self) {
        self.variables.values_mut().for_each(|value| *value = None);
        self.image.values_mut().for_each(|value| *value = None);
        self.has_base_image = true;
    }

    pub(super) fn get(&self, name: &str) -> Variable<'_> {
        match self.variables.get(name) {
            Some(Some(value)) => Variable::Set(value),
            Some(None) => Variable::Unknown,
            // A PATH is always set: a default one where the image has none.
            None if self.has_base_image || name == "PATH" => Variable::Unknown,
            None => Variable::Unset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_base_image_sets_is_not_known() {
        let mut environment = Environment::of_image();
        assert_eq!(environment.get("X"), Variable::Unknown);
        environment.set_arg("X", Some("1".to_owned()));
        assert_eq!(environment.get("X"), Variable::Set("1"));
        assert_eq!(environment.inherit().get("X"), Variable::Unknown);
        environment.set_env("X".to_owned(), Some("2".to_owned()));
        environment.set_arg("X", Some("3".to_owned()));
        assert_eq!(environment.get("X"), Variable::Set("3"));
        assert_eq!(environment.inherit().get("X"), Variable::Set("2"));
    }

    #[test]
    fn scratch_sets_nothing_but_path() {
        let mut environment = Environment::default();
        assert_eq!(environment.get("X"), Variable::Unset);
        assert_eq!(environment.get("PATH"), Variable::Unknown);
        environment.set_arg("X", Some("1".to_owned()));
        assert_eq!(environment.inherit().get("X"), Variable::Set("1"));
    }
}

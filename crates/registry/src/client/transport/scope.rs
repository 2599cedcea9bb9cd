//! What a token allows.

use std::collections::BTreeSet;
use std::fmt;

use crate::client::registry::Access;
use crate::reference::RepositoryName;

/// Scopes in the order in which they are asked for: some token servers read only the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ScopeSet(Vec<Scope>);

/// `type:name:action,action` (Docker's token authentication specification, *Resource scope*).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Scope {
    resource: String,
    actions: BTreeSet<String>,
}

impl ScopeSet {
    /// What this access to a repository needs.
    pub(super) fn repository(name: &RepositoryName, access: Access) -> Self {
        let actions: &[&str] = match access {
            Access::Pull => &["pull"],
            Access::PullPush => &["pull", "push"],
        };
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Self(vec![Scope { resource: format!("repository:{name}"), actions }])
    }

    /// What listing the registry's repositories needs.
    pub(super) fn catalog() -> Self {
        let actions = BTreeSet::from(["*".to_owned()]);
        Self(vec![Scope { resource: "registry:catalog".to_owned(), actions }])
    }

    /// What deleting from a repository needs.
    pub(super) fn deletion(name: &RepositoryName) -> Self {
        let actions = ["delete", "pull"].map(ToOwned::to_owned).into();
        Self(vec![Scope { resource: format!("repository:{name}"), actions }])
    }

    /// The same with every action where deletion is asked for; `None` if that asks for nothing more.
    /// Older servers grant deletion only along with everything else (`*`).
    pub(super) fn widened(&self) -> Option<Self> {
        let mut wide = self.clone();
        for scope in &mut wide.0 {
            if scope.actions.contains("delete") {
                scope.actions.insert("*".to_owned());
            }
        }
        (wide != *self).then_some(wide)
    }

    /// Whether it is to say only who is asking.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is to pull and nothing else.
    pub(super) fn only_pulls(&self) -> bool {
        let only_pulls = |scope: &Scope| {
            scope.resource.starts_with("repository:")
                && scope.actions.iter().all(|action| action == "pull")
        };
        !self.is_empty() && self.0.iter().all(only_pulls)
    }

    /// Whether something may be pushed with it.
    pub(super) fn pushes(&self) -> bool {
        self.0.iter().any(|scope| scope.actions.contains("push"))
    }

    /// The scopes of a challenge. Registries put several into one parameter, with spaces between;
    /// what is no scope is left out.
    pub(super) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for part in text.split_whitespace() {
            // A repository's name may begin with a host and its port.
            let Some((resource, actions)) = part.rsplit_once(':') else {
                continue;
            };
            let actions = actions.split(',').filter(|action| !action.is_empty());
            scopes.add(Scope {
                resource: resource.to_owned(),
                actions: actions.map(ToOwned::to_owned).collect(),
            });
        }
        scopes
    }

    /// Both sets, this one first.
    pub(super) fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for scope in &other.0 {
            union.add(scope.clone());
        }
        union
    }

    /// Whether everything in the other set is in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            self.0.iter().any(|scope| {
                scope.resource == wanted.resource && scope.actions.is_superset(&wanted.actions)
            })
        })
    }

    /// The scopes as texts.
    pub(super) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    fn add(&mut self, scope: Scope) {
        match self.0.iter_mut().find(|known| known.resource == scope.resource) {
            Some(known) => known.actions.extend(scope.actions),
            None => self.0.push(scope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        write!(formatter, "{}:{}", self.resource, actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scopes: &ScopeSet) -> Vec<String> {
        scopes.texts().collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_actions_are_merged() {
        let needed = ScopeSet::repository(&"a/b".parse().unwrap(), Access::PullPush);
        let challenge = ScopeSet::parse("repository:c:pull repository:a/b:delete,pull");
        let union = needed.union(&challenge);
        assert_eq!(texts(&union), ["repository:a/b:delete,pull,push", "repository:c:pull"]);
        assert!(union.covers(&needed) && union.covers(&challenge) && !needed.covers(&challenge));
    }

    #[test]
    fn only_a_deletion_can_be_asked_for_with_every_action() {
        let name = "a/b".parse().unwrap();
        assert_eq!(ScopeSet::repository(&name, Access::PullPush).widened(), None);
        let wide = ScopeSet::deletion(&name).widened().unwrap();
        assert_eq!(texts(&wide), ["repository:a/b:*,delete,pull"]);
        assert_eq!(wide.widened(), None);
    }

    #[test]
    fn odd_scopes_of_challenges_are_read() {
        for (text, expected) in [
            ("", vec![]),
            ("nonsense", vec![]),
            ("registry:catalog:*", vec!["registry:catalog:*"]),
            ("repository:h:5000/a:pull", vec!["repository:h:5000/a:pull"]),
            (" repository:a:pull \t repository:a:push ", vec!["repository:a:pull,push"]),
        ] {
            assert_eq!(texts(&ScopeSet::parse(text)), expected, "{text}");
        }
    }
}

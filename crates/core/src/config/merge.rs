//! What a variant's table and its image's say together.

use std::collections::BTreeMap;

use super::reader::Located;
use super::schema::ImageTable;

/// What `over` says, and `under` where that says nothing: a map is merged key by key, everything else
/// is replaced. An argument is of the class that it has in `over`, if it is there.
///
/// Names that an image has in an engine (`aliases`) are its own, and are not taken over; nor is what
/// says which variants there are.
pub(super) fn merged(under: ImageTable, over: ImageTable) -> ImageTable {
    // Without `..`: whoever adds a field has to say here how it is merged.
    let ImageTable {
        repository,
        dockerfile,
        context,
        target,
        platforms,
        args,
        unkeyed_args,
        env_args,
        tags,
        tag_prefix,
        aliases,
        needs,
        inputs,
        refresh,
        declared_key,
        prepare,
        strict_modes,
        publish_inputs,
        publish_args,
        test,
        info,
        layer_cache,
        network,
        hosts,
        shm_size,
        ulimits,
        secrets,
        ssh,
        variants,
        exclude_variants,
        only_variants,
    } = over;
    let again = |name: &String| {
        args.contains_key(name)
            || unkeyed_args.contains_key(name)
            || env_args.iter().flatten().any(|written| written.value == *name)
    };
    let without = |mut map: BTreeMap<String, Located<String>>| {
        map.retain(|name, _| !again(name));
        map
    };
    let (under_args, under_unkeyed) = (without(under.args), without(under.unkeyed_args));
    let under_env = under.env_args.map(|mut names| {
        names.retain(|name| !again(&name.value));
        names
    });
    ImageTable {
        repository: repository.or(under.repository),
        dockerfile: dockerfile.or(under.dockerfile),
        context: context.or(under.context),
        target: target.or(under.target),
        platforms: platforms.or(under.platforms),
        args: by_key(under_args, args),
        unkeyed_args: by_key(under_unkeyed, unkeyed_args),
        env_args: env_args.or(under_env),
        tags: tags.or(under.tags),
        tag_prefix: tag_prefix.or(under.tag_prefix),
        aliases,
        needs: needs.or(under.needs),
        inputs: inputs.or(under.inputs),
        refresh: refresh.or(under.refresh),
        declared_key: match (under.declared_key, declared_key) {
            (Some(under), Some(over)) => {
                Some(Located { value: by_key(under.value, over.value), line: over.line })
            }
            (under, over) => over.or(under),
        },
        prepare: prepare.or(under.prepare),
        strict_modes: strict_modes.or(under.strict_modes),
        publish_inputs: publish_inputs.or(under.publish_inputs),
        publish_args: publish_args.or(under.publish_args),
        test: test.or(under.test),
        info: by_key(under.info, info),
        layer_cache: layer_cache.or(under.layer_cache),
        network: network.or(under.network),
        hosts: by_key(under.hosts, hosts),
        shm_size: shm_size.or(under.shm_size),
        ulimits: by_key(under.ulimits, ulimits),
        secrets: by_key(under.secrets, secrets),
        ssh: by_key(under.ssh, ssh),
        variants,
        exclude_variants,
        only_variants,
    }
}

fn by_key<T>(mut under: BTreeMap<String, T>, over: BTreeMap<String, T>) -> BTreeMap<String, T> {
    under.extend(over);
    under
}

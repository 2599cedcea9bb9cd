//! Links to the next page of a list (RFC 8288).

/// The target of the link to the next page, in one of these `Link` headers.
pub(super) fn next_page<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    headers.into_iter().find_map(|header| {
        let mut rest = header;
        loop {
            let (target, parameters) = rest.split_once('<')?.1.split_once('>')?;
            let (link, others) = until(parameters, b',');
            if leads_on(link) {
                return Some(target);
            }
            rest = others;
        }
    })
}

/// The text up to a character that stands in no quotes, and what comes after it.
fn until(text: &str, end: u8) -> (&str, &str) {
    let mut quoted = false;
    let end = text.bytes().position(|byte| {
        quoted ^= byte == b'"';
        byte == end && !quoted
    });
    end.map_or((text, ""), |end| (&text[..end], &text[end + 1..]))
}

/// Whether a link with these parameters is to the next page. It can have several relations.
fn leads_on(mut parameters: &str) -> bool {
    while !parameters.is_empty() {
        let (parameter, others) = until(parameters, b';');
        let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        if name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        {
            return true;
        }
        parameters = others;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_to_the_next_page_is_followed() {
        for (header, next) in [
            ("</v2/a/referrers/x?n=2>; rel=\"next\"", Some("/v2/a/referrers/x?n=2")),
            ("<a>; rel=prev, <b>; title=x; rel=next", Some("b")),
            ("<a>; title=\"x, <y>; rel=next\"; rel=prev, <b>; rel=next", Some("b")),
            ("</v2/a/tags/list?last=x,y>; rel=\"next\"", Some("/v2/a/tags/list?last=x,y")),
            ("<a>; rel=\"last Next\"", Some("a")),
            ("<a>; rel=\"prev\"", None),
            ("<a>; rel=\"nextish\"", None),
            ("<a", None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(next_page([header]), next, "{header}");
        }
        assert_eq!(next_page(["<a>; rel=prev", "<b>; rel=next"]), Some("b"));
    }
}

//! The claims a provider made about a person, as plain values.

use std::collections::BTreeMap;

/// A JSON value without the JSON library.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimValue {
    /// The JSON value `null`.
    Null,
    /// The JSON value `true` or `false`.
    Bool(bool),
    /// A JSON number without a fraction that fits into 64 bits.
    Integer(i64),
    /// Any other JSON number.
    Float(f64),
    /// A JSON string.
    Text(String),
    /// A JSON array.
    List(Vec<ClaimValue>),
    /// A JSON object.
    Object(BTreeMap<String, ClaimValue>),
}

impl ClaimValue {
    /// The text of a JSON string; `None` for any other value.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts in this value: itself, or the texts among its elements.
    ///
    /// Providers send a single group as a bare string where an array is due; both read the same.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let elements = match self {
            Self::List(list) => list.as_slice(),
            single => std::slice::from_ref(single),
        };
        elements.iter().filter_map(Self::as_text)
    }

    /// About how many bytes this value takes as JSON.
    pub fn approximate_len(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 5,
            Self::Integer(_) | Self::Float(_) => 12,
            Self::Text(text) => text.len() + 2,
            Self::List(list) => list.iter().map(|v| v.approximate_len() + 1).sum::<usize>() + 2,
            Self::Object(map) => {
                map.iter().map(|(k, v)| k.len() + v.approximate_len() + 4).sum::<usize>()
            }
        }
    }
}

/// The verified claims of a sign-in.
///
/// An email address that the provider has not verified is not in here:
/// the constructor drops `email` unless `email_verified` is the boolean `true`,
/// so no role rule and no token can ever rest on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClaimSet(BTreeMap<String, ClaimValue>);

impl ClaimSet {
    /// Takes over the provider's claims, without an unverified email.
    pub fn new(mut claims: BTreeMap<String, ClaimValue>) -> Self {
        if claims.get("email_verified") != Some(&ClaimValue::Bool(true)) {
            claims.remove("email");
        }
        Self(claims)
    }

    /// Finds a claim by its path; see [`find_claim`].
    pub fn find(&self, path: &str) -> Option<&ClaimValue> {
        find_claim(&self.0, path)
    }
}

/// Finds a claim by its path: the claim of that whole name (`https://example.com/roles`), else the
/// value reached through objects, with one member name between every two dots (`realm_access.roles`).
///
/// The two ways do not mix: `a.b.c` does not find the member `b.c` of `a`.
pub fn find_claim<'a>(
    claims: &'a BTreeMap<String, ClaimValue>,
    path: &str,
) -> Option<&'a ClaimValue> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| match value {
        ClaimValue::Object(members) => members.get(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(pairs: &[(&str, ClaimValue)]) -> ClaimSet {
        ClaimSet::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    fn text(value: &str) -> ClaimValue {
        ClaimValue::Text(value.to_owned())
    }

    #[test]
    fn case_30_an_email_is_kept_only_when_verified_is_the_boolean_true() {
        let email = ("email", text("ada@example.com"));
        let kept = claims(&[email.clone(), ("email_verified", ClaimValue::Bool(true))]);
        assert_eq!(kept.find("email"), Some(&email.1));
        for verified in [ClaimValue::Bool(false), text("true"), ClaimValue::Integer(1)] {
            let dropped = claims(&[email.clone(), ("email_verified", verified)]);
            assert_eq!(dropped.find("email"), None);
        }
        assert_eq!(claims(&[email]).find("email"), None);
    }

    #[test]
    fn a_path_is_a_whole_name_first_and_steps_second() {
        let roles = ClaimValue::List(vec![text("admin")]);
        let set = claims(&[
            ("https://example.com/roles", text("url")),
            ("realm_access", ClaimValue::Object([("roles".to_owned(), roles.clone())].into())),
        ]);
        assert_eq!(set.find("https://example.com/roles"), Some(&text("url")));
        assert_eq!(set.find("realm_access.roles"), Some(&roles));
        assert_eq!(set.find("realm_access.roles.admin"), None);
        assert_eq!(set.find("absent.roles"), None);
    }

    #[test]
    fn a_name_with_dots_is_found_at_the_top_level_alone() {
        let dotted = |name: &str| ClaimValue::Object([(name.to_owned(), text("x"))].into());
        let set = claims(&[("a", dotted("b.c")), ("a.b", dotted("c")), ("d.e.f", text("y"))]);
        assert_eq!(set.find("a.b.c"), None);
        assert_eq!(set.find("d.e.f"), Some(&text("y")));
    }

    #[test]
    fn case_31_a_bare_string_reads_like_an_array_of_one() {
        assert_eq!(text("admins").texts().collect::<Vec<_>>(), ["admins"]);
        let mixed = ClaimValue::List(vec![text("a"), ClaimValue::Integer(7), text("b")]);
        assert_eq!(mixed.texts().collect::<Vec<_>>(), ["a", "b"]);
    }
}

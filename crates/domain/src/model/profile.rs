//! Who somebody is, in a provider's words: a few claims that are kept for pages to show.

use std::fmt;

use url::Url;

use super::ClaimSet;

/// The longest name, user name or email address that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 320;
/// The longest address of a picture that is kept, in bytes.
const MAX_PICTURE_BYTES: usize = 2048;

/// A claim that is kept of whoever signs in (OIDC Core §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum ProfileClaim {
    Name,
    PreferredUsername,
    Email,
    Picture,
}

impl ProfileClaim {
    /// Every claim that can be kept.
    pub const ALL: [Self; 4] = [Self::Name, Self::PreferredUsername, Self::Email, Self::Picture];

    /// The name of the claim.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::PreferredUsername => "preferred_username",
            Self::Email => "email",
            Self::Picture => "picture",
        }
    }
}

/// What is kept of a person, as their last sign-in said it. Personal data: `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// The claim `name`.
    pub name: Option<String>,
    /// The claim `preferred_username`.
    pub preferred_username: Option<String>,
    /// The claim `email`, if the provider has verified it.
    pub email: Option<String>,
    /// The claim `picture`, an `https` URL.
    pub picture: Option<String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile").finish_non_exhaustive()
    }
}

/// The claims that are kept of whoever signs in; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileClaims(pub Vec<ProfileClaim>);

impl ProfileClaims {
    /// What is kept of a person with these claims. A claim that is no text, too long (320 bytes, a picture
    /// 2048), blank, or has control characters is left out, and so is a picture that is no `https` URL or
    /// one with a user name or password in it. The URL is kept in the form that the URL standard gives it.
    pub fn of(&self, claims: &ClaimSet) -> Profile {
        let text = |claim: ProfileClaim, max_bytes| {
            let text = claims.find(claim.name()).filter(|_| self.0.contains(&claim))?.as_text()?;
            let is_kept = text.len() <= max_bytes
                && !text.trim().is_empty()
                && !text.contains(char::is_control);
            is_kept.then(|| text.to_owned())
        };
        Profile {
            name: text(ProfileClaim::Name, MAX_TEXT_BYTES),
            preferred_username: text(ProfileClaim::PreferredUsername, MAX_TEXT_BYTES),
            email: text(ProfileClaim::Email, MAX_TEXT_BYTES),
            picture: text(ProfileClaim::Picture, MAX_PICTURE_BYTES).and_then(|url| picture(&url)),
        }
    }

    /// The part of what is kept that the configuration still asks for.
    pub fn shown(&self, profile: Profile) -> Profile {
        let is_shown = |claim| self.0.contains(&claim);
        Profile {
            name: profile.name.filter(|_| is_shown(ProfileClaim::Name)),
            preferred_username: profile
                .preferred_username
                .filter(|_| is_shown(ProfileClaim::PreferredUsername)),
            email: profile.email.filter(|_| is_shown(ProfileClaim::Email)),
            picture: profile.picture.filter(|_| is_shown(ProfileClaim::Picture)),
        }
    }
}

/// The address of a picture that a page may load. Written by the standard's rules it has no quotes,
/// blanks or angle brackets, and may be longer than it was said.
fn picture(said: &str) -> Option<String> {
    let url = Url::parse(said).ok()?;
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    let url = String::from(url);
    (is_plain && url.len() <= MAX_PICTURE_BYTES).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClaimValue;

    fn claims(pairs: &[(&str, &str)]) -> ClaimSet {
        let text = |(name, value): &(&str, &str)| {
            ((*name).to_owned(), ClaimValue::Text((*value).to_owned()))
        };
        let mut claims: std::collections::BTreeMap<_, _> = pairs.iter().map(text).collect();
        if let Some(verified) = claims.remove("verified") {
            let verified = ClaimValue::Bool(verified.as_text() == Some("true"));
            claims.insert("email_verified".to_owned(), verified);
        }
        ClaimSet::new(claims)
    }

    #[test]
    fn what_is_configured_is_kept_and_nothing_else() {
        let said = [
            ("name", "Ada L."),
            ("preferred_username", "ada"),
            ("email", "ada@example.com"),
            ("verified", "true"),
            ("picture", "https://pics.example.com/ada"),
            ("phone_number", "7"),
        ];
        assert_eq!(ProfileClaims::default().of(&claims(&said)), Profile::default());
        let all = ProfileClaims(ProfileClaim::ALL.into());
        let kept = all.of(&claims(&said));
        assert_eq!(kept.name.as_deref(), Some("Ada L."));
        assert_eq!(kept.preferred_username.as_deref(), Some("ada"));
        assert_eq!(kept.email.as_deref(), Some("ada@example.com"));
        assert_eq!(kept.picture.as_deref(), Some("https://pics.example.com/ada"));
        assert!(!format!("{kept:?}").contains("ada"));
        let only = ProfileClaims(vec![ProfileClaim::Name]);
        let name = Profile { name: kept.name.clone(), ..Profile::default() };
        assert_eq!((only.of(&claims(&said)), only.shown(kept)), (name.clone(), name));
    }

    #[test]
    fn what_is_not_proven_or_does_not_fit_is_not_kept() {
        let all = ProfileClaims(ProfileClaim::ALL.into());
        let (long, longer) = ("x".repeat(320), "x".repeat(321));
        assert_eq!(all.of(&claims(&[("name", &long)])).name, Some(long));
        let far = format!("https://x.example.com/{}", "x".repeat(2048));
        let swollen = format!("https://x.example.com/{}", "\"".repeat(1000));
        for odd in [
            [("name", longer.as_str())],
            [("name", " ")],
            [("name", "a\0b")],
            [("email", "ada@example.com")],
            [("picture", "http://x.example.com/a.png")],
            [("picture", "javascript:alert(1)")],
            [("picture", "data:image/png;base64,AAAA")],
            [("picture", "/a.png")],
            [("picture", "https://ada:secret@x.example.com/a.png")],
            [("picture", "https://ada@x.example.com/a.png")],
            [("picture", swollen.as_str())],
            [("picture", far.as_str())],
        ] {
            assert_eq!(all.of(&claims(&odd)), Profile::default(), "{odd:.60?}");
        }
        let unverified = [("email", "ada@example.com"), ("verified", "false")];
        assert_eq!(all.of(&claims(&unverified)).email, None);
    }

    #[test]
    fn a_picture_is_kept_as_a_page_can_put_it_into_an_attribute() {
        let all = ProfileClaims(ProfileClaim::ALL.into());
        let kept = |said| all.of(&claims(&[("picture", said)])).picture;
        let expected = "https://x.example.com/a%22%20onerror=%22b%3E";
        let said = " https://X.example.com:443/a\" onerror=\"b>";
        assert_eq!(kept(said).as_deref(), Some(expected));
    }

    #[test]
    fn a_claim_that_is_no_text_is_left_out() {
        let odd = [("name", ClaimValue::Integer(7)), ("picture", ClaimValue::List(vec![]))];
        let odd = odd.map(|(name, value)| (name.to_owned(), value));
        let all = ProfileClaims(ProfileClaim::ALL.into());
        assert_eq!(all.of(&ClaimSet::new(odd.into())), Profile::default());
    }
}

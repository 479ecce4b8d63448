//! What people are searched by: texts in a form in which neither case nor Unicode form matters.

use unicode_normalization::UnicodeNormalization as _;

use super::Profile;

/// The longest text that is searched for, in bytes.
const MAX_BYTES: usize = 320;
/// Stands before, between and after the texts of a person; no text has it in it.
const SEPARATOR: char = '\n';

/// A text that is looked for in the texts of people, as a sequence of characters that stands in them
/// somewhere. None of its characters has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchText(String);

/// The text cannot be searched for: it has more than 320 bytes or a control character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSearchable;

impl SearchText {
    /// Finds the people of whom one text has this part, wherever it stands.
    ///
    /// # Errors
    /// [`NotSearchable`]
    pub fn part(text: &str) -> Result<Self, NotSearchable> {
        if text.len() > MAX_BYTES || text.contains(char::is_control) {
            return Err(NotSearchable);
        }
        Ok(Self(folded(text)))
    }

    /// Finds the people of whom one text is this one.
    ///
    /// # Errors
    /// [`NotSearchable`]
    pub fn whole(text: &str) -> Result<Self, NotSearchable> {
        Ok(Self(enclosed([Self::part(text)?.0])))
    }

    /// The sequence of characters that is looked for.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands in the texts of a person ([`searched`]).
    pub fn is_in(&self, searched: &str) -> bool {
        searched.contains(&self.0)
    }
}

/// The texts as a store keeps them to be searched, in one.
pub fn searched<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    enclosed(texts.into_iter().map(folded))
}

impl Profile {
    /// The name, the user name and the email address as a store keeps them to be searched; `None` if
    /// there is none of them.
    pub fn searched(&self) -> Option<String> {
        let texts = [&self.name, &self.preferred_username, &self.email];
        let mut texts = texts.into_iter().filter_map(Option::as_deref).peekable();
        texts.peek()?;
        Some(searched(texts))
    }
}

fn enclosed(texts: impl IntoIterator<Item = String>) -> String {
    let mut all = String::from(SEPARATOR);
    for text in texts {
        all.push_str(&text);
        all.push(SEPARATOR);
    }
    all
}

/// The text in Unicode normalization form KC, without the difference of upper and lower case. Capitals
/// come first, so that `ß` and `SS`, `ς` and `Σ` become the same.
fn folded(text: &str) -> String {
    let capitals = text.nfkc().flat_map(char::to_uppercase);
    capitals.flat_map(char::to_lowercase).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, email: &str) -> String {
        let profile = Profile {
            name: Some(name.to_owned()),
            email: Some(email.to_owned()),
            ..Profile::default()
        };
        profile.searched().unwrap()
    }

    #[test]
    fn neither_case_nor_unicode_form_matters() {
        // "Jörn" with a combining diaeresis, and other spellings of one name.
        for (stored, sought) in [
            ("Jo\u{308}rn", "JÖRN"),
            ("jörn", "Jo\u{308}rn"),
            ("Straße", "STRASSE"),
            ("ΟΔΥΣΣΕΎΣ", "Οδυσσεύς"),
            ("ﬁle", "FILE"),
            ("Ａｄａ", "ada"),
            ("İstanbul", "i\u{307}STANBUL"),
        ] {
            let searched = profile(stored, "x@example.com");
            for text in [SearchText::part(sought), SearchText::whole(sought)] {
                assert!(text.unwrap().is_in(&searched), "{sought} in {stored}");
            }
        }
        assert!(!SearchText::part("jorn").unwrap().is_in(&profile("Jörn", "x")));
    }

    #[test]
    fn a_part_is_found_wherever_it_stands_and_no_character_means_another() {
        let searched = profile("100% A_b *\\", "a_b@acme.com");
        for part in ["@acme.com", "acme", "a_b@", "100%", "*", "\\", "%", "_", "b *"] {
            assert!(SearchText::part(part).unwrap().is_in(&searched), "{part}");
        }
        for part in ["a%b", "a*b", "axb", "100_", "com\\", "* a"] {
            assert!(!SearchText::part(part).unwrap().is_in(&searched), "{part}");
        }
    }

    #[test]
    fn a_whole_text_is_found_by_itself_alone() {
        let searched = profile("Ann", "joann@example.com");
        assert!(SearchText::whole("ANN").unwrap().is_in(&searched));
        assert!(SearchText::whole("joann@example.com").unwrap().is_in(&searched));
        for part in ["an", "joann", "example.com", "ann joann@example.com"] {
            assert!(!SearchText::whole(part).unwrap().is_in(&searched), "{part}");
        }
    }

    #[test]
    fn a_text_across_two_others_or_of_any_length_is_not_searched_for() {
        for text in ["a\nb", "\0", "\u{85}", &"x".repeat(321)] {
            assert_eq!(SearchText::part(text), Err(NotSearchable), "{text:?}");
        }
        assert_eq!(SearchText::part(&"x".repeat(320)).map(|text| text.0.len()), Ok(320));
        assert_eq!(Profile::default().searched(), None);
    }
}

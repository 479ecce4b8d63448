//! The languages of the hosted pages: those that are built in, and those of the operator.

use std::collections::BTreeMap;

use actix_web::http::header::{self, HeaderMap};

use super::texts::Texts;
use crate::config::PageLanguage;

/// The languages that are built in, each as its tag (BCP 47) and its file. The first has every text that
/// another one lacks.
const BUILT_IN: [(&str, &str); 8] = [
    ("en", include_str!("languages/en.json")),
    ("de", include_str!("languages/de.json")),
    ("es", include_str!("languages/es.json")),
    ("fr", include_str!("languages/fr.json")),
    ("it", include_str!("languages/it.json")),
    ("ja", include_str!("languages/ja.json")),
    ("nl", include_str!("languages/nl.json")),
    ("pt", include_str!("languages/pt.json")),
];

/// How many languages of a header are looked at.
const MAX_RANGES: usize = 32;

/// A language, with all its texts.
#[derive(Debug)]
pub(super) struct Language {
    /// The tag of the language (BCP 47).
    pub(super) tag: String,
    pub(super) texts: Texts,
}

impl Language {
    /// The direction of the text, as the attribute `dir` has it.
    pub(super) fn direction(&self) -> &'static str {
        if self.texts.dir == "rtl" { "rtl" } else { "ltr" }
    }
}

/// The languages that can be chosen.
#[derive(Debug)]
pub(super) struct Languages {
    /// The default one first.
    all: Vec<Language>,
}

impl Languages {
    /// The built-in languages with the operator's `own` over them. A text that a language lacks is that of
    /// the default language.
    pub(super) fn new(default: &str, own: &[PageLanguage]) -> Self {
        let mut files: Vec<(String, BTreeMap<String, String>)> = BUILT_IN
            .iter()
            .map(|(tag, file)| ((*tag).to_owned(), serde_json::from_str(file).unwrap_or_default()))
            .collect();
        for PageLanguage { tag, texts } in own {
            match files.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(tag)) {
                Some((_, known)) => known.extend(texts.clone()),
                None => files.push((tag.clone(), texts.clone())),
            }
        }
        let english = files[0].1.clone();
        let is_default = |(tag, _): &(String, _)| tag.eq_ignore_ascii_case(default);
        let index = files.iter().position(is_default).unwrap_or(0);
        files.swap(0, index);
        let mut fallback = english;
        fallback.extend(files[0].1.clone());
        let all = files.into_iter().map(|(tag, texts)| {
            let mut whole = fallback.clone();
            // Of another language's texts this one must not take the direction.
            whole.remove("dir");
            whole.extend(texts);
            Language { tag, texts: Texts::of(&whole) }
        });
        Self { all: all.collect() }
    }

    /// The language that a browser prefers (RFC 9110 §12.5.4), by the lookup of RFC 4647 §3.4; the default
    /// one if it names none of them.
    pub(super) fn choose(&self, headers: &HeaderMap) -> &Language {
        let values = headers.get_all(header::ACCEPT_LANGUAGE);
        let ranges = values.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
        let mut wanted: Vec<(&str, f32)> = ranges
            .take(MAX_RANGES)
            .filter_map(|range| {
                let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
                let weight = weight.trim().strip_prefix("q=")?.parse().ok()?;
                (weight > 0.0).then_some((tag.trim(), weight))
            })
            .collect();
        wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        wanted.iter().find_map(|(tag, _)| self.find(tag)).unwrap_or(&self.all[0])
    }

    /// The language of a tag, or of its first parts.
    fn find(&self, tag: &str) -> Option<&Language> {
        let mut tag = tag;
        loop {
            let is_it = |language: &&Language| language.tag.eq_ignore_ascii_case(tag);
            if let Some(found) = self.all.iter().find(is_it) {
                return Some(found);
            }
            tag = tag.rsplit_once('-')?.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn file(text: &str) -> BTreeMap<String, String> {
        serde_json::from_str(text).unwrap()
    }

    /// What stands in braces, sorted.
    fn places(text: &str) -> Vec<&str> {
        let mut places: Vec<_> =
            text.split('{').skip(1).filter_map(|it| it.split_once('}')).map(|it| it.0).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn every_language_has_the_same_keys_and_places_and_no_empty_text() {
        let english = file(BUILT_IN[0].1);
        let shown = format!("{:?}", Texts::of(&english));
        assert!(!shown.contains("\"\""), "a text of the code is in no file: {shown}");
        assert_eq!(shown.matches(": \"").count(), english.len(), "a text of a file is not used");
        for (tag, text) in BUILT_IN {
            let texts = file(text);
            assert!(texts.keys().eq(english.keys()), "{tag}");
            for (key, text) in &texts {
                assert_eq!(places(text), places(&english[key]), "{tag}: {key}");
                assert!(!text.trim().is_empty(), "{tag}: {key}");
            }
        }
    }

    #[test]
    fn the_browser_chooses_the_language_and_the_default_is_for_all_others() {
        let languages = Languages::new("fr", &[]);
        for (wanted, tag) in [
            ("de-CH", "de"),
            ("pt", "pt"),
            ("pt-BR, en;q=0.5", "pt"),
            ("xx", "fr"),
            ("", "fr"),
            ("*", "fr"),
            ("xx, JA;q=0.1, en;q=0.7", "en"),
            ("de;q=0, nl;q=0.2", "nl"),
            ("de;q=x, it", "it"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(wanted));
            assert_eq!(languages.choose(&headers).tag, tag, "{wanted:?}");
        }
        assert_eq!(languages.choose(&HeaderMap::new()).tag, "fr");
    }

    #[test]
    fn a_language_of_the_operator_is_added_or_changes_one_text_by_text() {
        let own = |tag: &str, texts: &[(&str, &str)]| PageLanguage {
            tag: tag.to_owned(),
            texts: texts.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let arabic = own("ar", &[("dir", "rtl"), ("sign_in", "تسجيل الدخول"), ("unknown", "x")]);
        let german = own("DE", &[("sign_in", "Einloggen")]);
        let languages = Languages::new("ar", &[arabic, german]);
        let find = |tag| languages.find(tag).unwrap();
        assert_eq!(find("ar").direction(), "rtl");
        assert_eq!(find("ar").texts.sign_in, "تسجيل الدخول");
        assert_eq!(find("ar").texts.go_on, "Continue", "what is missing falls back alone");
        assert_eq!((find("de").direction(), &*find("de").texts.sign_in), ("ltr", "Einloggen"));
        assert_eq!(find("de").texts.go_on, "Weiter");
    }
}

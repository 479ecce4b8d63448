//! The keys of `[pages]` about the pages that are served here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::model::ReturnOrigins;
use url::Url;

use crate::rules;
use crate::types::{HostedPageSettings, LogoFile};

/// The largest file of a language or a style, in bytes.
const MAX_TEXT_BYTES: u64 = 64 * 1024;
/// The largest logo, in bytes.
const MAX_LOGO_BYTES: u64 = 256 * 1024;
/// The longest name, in characters.
const MAX_NAME: usize = 64;
/// The most files in the directory of languages.
const MAX_LANGUAGES: usize = 100;
/// The languages that are built in.
const LANGUAGES: [&str; 8] = ["en", "de", "es", "fr", "it", "ja", "nl", "pt"];

/// The texts of a language, by key.
type Texts = BTreeMap<String, String>;

/// Reads whether the pages are served, and how they look.
pub(super) fn hosted(
    s: &mut Section<'_>,
    public_url: Option<&Url>,
    origins: Option<&ReturnOrigins>,
) -> Option<(bool, HostedPageSettings)> {
    let is_on = s.flag(
        key(
            "hosted",
            "Whether Mintgate serves a login page at `/login` and an account page at `/account` \
             ([hosted-pages.md](hosted-pages.md)).",
        )
        .default(false),
    );
    let host = public_url.and_then(Url::host_str);
    let name = s.text(
        key("name", "Whose pages they are: the name of your product, up to 64 characters.")
            .default_from("the host of `server.public_url`", host),
        "text",
        name,
    );
    let home = s.text(
        key(
            "home_url",
            "The page of your app to which people go on from these pages, if they came for no other. It must be \
             of one of `return_origins`.",
        )
        .optional("the account page"),
        "URL",
        rules::web_address,
    );
    let languages = s.text(
        key(
            "languages_dir",
            "The path of a directory with languages besides, or with other words for one that is built in: \
             files such as `ar.json` of up to 64 KiB, each a JSON object of texts by key.",
        ),
        "path",
        languages,
    );
    let languages = languages.unwrap_or_default();
    let known: Vec<String> = languages.iter().map(|(tag, _)| tag.clone()).collect();
    let language = s.text(
        key(
            "language",
            "The language for browsers that prefer none of the others: `en`, `de`, `es`, `fr`, `it`, `ja`, \
             `nl`, `pt`, or one of `languages_dir`.",
        )
        .default("en"),
        "text",
        |text| language(text, &known),
    );
    let stylesheet = s.text(
        key(
            "stylesheet_file",
            "The path of a style sheet of up to 64 KiB, which is loaded behind the built-in one. It may load \
             nothing else.",
        ),
        "path",
        |path| text_file(Path::new(path)),
    );
    let logo = s.text(
        key(
            "logo_file",
            "The path of your logo: SVG, PNG, JPEG or WebP, up to 256 KiB. It is the icon of the pages too.",
        ),
        "path",
        |path| logo(Path::new(path)),
    );
    if let Some((home, origins)) = home.as_ref().zip(origins)
        && origins.judge(home.as_str()).is_err()
    {
        let fix = "add its origin to pages.return_origins, or name another page";
        s.reject("home_url", invalid("Browsers may not be sent there.", fix));
        return None;
    }
    let settings = HostedPageSettings {
        name: name?,
        home: home.map(String::from),
        language: language?,
        languages,
        stylesheet,
        logo,
    };
    Some((is_on?, settings))
}

fn name(text: &str) -> Result<String, Invalid> {
    let text = rules::non_empty(text)?;
    if text.chars().count() > MAX_NAME || text.contains(char::is_control) {
        let problem = "This has more than 64 characters, or control characters.";
        return Err(invalid(problem, "write a shorter name on one line"));
    }
    Ok(text)
}

fn language(text: &str, own: &[String]) -> Result<String, Invalid> {
    let mut known = LANGUAGES.into_iter().chain(own.iter().map(String::as_str));
    if known.any(|tag| tag.eq_ignore_ascii_case(text)) {
        return Ok(text.to_owned());
    }
    let problem = "There is no such language.";
    let fix = format!("write one of {}, or add its file to languages_dir", LANGUAGES.join(", "));
    Err(invalid(problem, fix))
}

/// The texts of each file of a directory, by the tag of the language.
fn languages(directory: &str) -> Result<Vec<(String, Texts)>, Invalid> {
    let cannot = |error: std::io::Error| {
        let fix = "name a directory that this user may read";
        invalid(format!("It cannot be read: {error}."), fix)
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let Some(tag) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"))
        else {
            continue;
        };
        if !is_tag(tag) {
            let problem = format!("The name of the file {tag}.json is not that of a language.");
            return Err(invalid(problem, "name it as the tag of the language, such as pt-BR.json"));
        }
        let text = text_file(&path)?;
        let texts = serde_json::from_str(&text).map_err(|error| {
            let problem = format!("The file {tag}.json is not an object of texts: {error}.");
            invalid(problem, "write for example { \"sign_in\": \"Log in\" }")
        })?;
        all.push((tag.to_owned(), texts));
        if all.len() > MAX_LANGUAGES {
            let problem = format!("There are more than {MAX_LANGUAGES} languages.");
            return Err(invalid(problem, "remove those that are not needed"));
        }
    }
    all.sort();
    Ok(all)
}

/// Whether a text has the form of a language tag (RFC 5646 §2.1), as far as it matters here.
fn is_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_part = |part: &str, longest| {
        (1..=longest).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    text.len() <= 35
        && parts.next().is_some_and(|it| it.len() >= 2 && is_part(it, 3))
        && parts.all(|part| is_part(part, 8))
}

fn text_file(path: &Path) -> Result<String, Invalid> {
    let bytes = bounded(path, MAX_TEXT_BYTES)?;
    String::from_utf8(bytes).map_err(|_| {
        let problem = format!("The file {} is not UTF-8.", path.display());
        invalid(problem, "save it as UTF-8")
    })
}

fn logo(path: &Path) -> Result<LogoFile, Invalid> {
    let bytes = bounded(path, MAX_LOGO_BYTES)?;
    let Some(media_type) = type_of(&bytes) else {
        let problem = "The file is neither SVG, PNG, JPEG nor WebP.";
        return Err(invalid(problem, "save the picture in one of these formats"));
    };
    Ok(LogoFile { media_type, bytes })
}

/// The type of a picture, by how it begins.
fn type_of(bytes: &[u8]) -> Option<&'static str> {
    let is_svg = || {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let text = text.trim_start_matches('\u{feff}').trim_start();
        text.starts_with('<') && text.contains("<svg")
    };
    match bytes {
        [0x89, b'P', b'N', b'G', 13, 10, 26, 10, ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => is_svg().then_some("image/svg+xml"),
    }
}

/// Reads a file of at most so many bytes.
fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, Invalid> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let problem = format!("The file {} cannot be read: {error}.", path.display());
        return Err(invalid(problem, "name a file that this user may read"));
    }
    if bytes.len() as u64 > most {
        let problem = format!("The file {} has more than {} KiB.", path.display(), most / 1024);
        return Err(invalid(problem, "name a smaller file"));
    }
    Ok(bytes)
}

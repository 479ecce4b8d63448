//! The pages that are served here: their name, languages, style and logo.

use std::path::Path;

use super::{good, refused_for, with_provider};
use crate::HostedPageSettings;

const ON: &str = "[server]\npublic_url = \"https://auth.example.com\"\n[pages]\nhosted = true\n";

fn pages(lines: &str) -> HostedPageSettings {
    good(&format!("{ON}{lines}")).pages.hosted.expect("they are served")
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_pages_are_off_and_plain_by_default() {
    assert!(good("").pages.hosted.is_none());
    let plain = pages("");
    assert_eq!((plain.name.as_str(), plain.language.as_str()), ("auth.example.com", "en"));
    assert_eq!((plain.home, plain.stylesheet, plain.logo), (None, None, None));
    assert!(plain.languages.is_empty());
}

#[test]
fn people_go_on_to_a_page_that_a_login_may_return_to_alone() {
    let origins = "return_origins = [\"https://app.example.com\"]\n";
    let home = |url: &str| format!("{origins}home_url = \"{url}\"");
    let app = "https://app.example.com/home";
    assert_eq!(pages(&home(app)).home.as_deref(), Some(app));
    let elsewhere = [
        ("https://evil.example", "pages.home_url: elsewhere"),
        ("https://app.example.com.evil.example/", "pages.home_url: elsewhere"),
        ("https://auth.example.com/", "pages.home_url: elsewhere"),
        ("javascript:alert(1)", "pages.home_url: no page of the web"),
        ("/home", "pages.home_url: no address"),
    ];
    refused_for(
        elsewhere.map(|(url, reason)| (with_provider(&format!("{ON}{}", home(url))), reason)),
    );
}

#[test]
fn the_login_page_of_somebody_else_is_an_address_of_the_web() {
    let login = |url: &str| format!("[pages]\nlogin_url = \"{url}\"");
    let own = good(&login("https://app.example.com/sign-in")).pages.login_url.unwrap();
    assert_eq!(own.as_str(), "https://app.example.com/sign-in");
    refused_for([
        (with_provider(&login("javascript:alert(1)")), "pages.login_url: no page of the web"),
        (with_provider(&login("/login")), "pages.login_url: no address"),
    ]);
}

#[test]
fn a_name_is_one_line_of_64_characters_at_most() {
    assert_eq!(pages(&format!("name = \"{}\"", "é".repeat(64))).name.chars().count(), 64);
    let long = "a".repeat(65);
    refused_for([
        (with_provider(&format!("{ON}name = \"\"")), "pages.name: empty"),
        (with_provider(&format!("{ON}name = \"a\\nb\"")), "pages.name: two lines, or long"),
        (with_provider(&format!("{ON}name = \"{long}\"")), "pages.name: two lines, or long"),
    ]);
}

#[test]
fn a_language_of_ones_own_is_a_file_of_texts_and_may_be_the_default() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "ar.json", b"{ \"sign_in\": \"x\" }");
    file(dir.path(), "README.md", b"not a language");
    let own = format!("languages_dir = \"{}\"\n", dir.path().display());
    let with_arabic = pages(&format!("{own}language = \"ar\""));
    assert_eq!(with_arabic.language, "ar");
    let [(tag, texts)] = with_arabic.languages.try_into().unwrap();
    assert_eq!((tag.as_str(), texts["sign_in"].as_str()), ("ar", "x"));
    let unknown = (with_provider(&format!("{ON}language = \"xx\"")), "pages.language: unknown");
    refused_for([unknown]);
}

#[test]
fn a_file_of_a_language_that_cannot_be_used_is_named() {
    let long = [b"{ \"a\": \"".as_slice(), "x".repeat(64 * 1024).as_bytes(), b"\" }"].concat();
    for (name, bytes, reason) in [
        ("not_a_tag.json", b"{}".as_slice(), "pages.languages_dir: no tag: not_a_tag.json"),
        ("x.json", b"{}", "pages.languages_dir: short: x.json"),
        ("de.json", b"[]", "pages.languages_dir: a list: de.json"),
        ("de.json", b"{ \"sign_in\": 1 }", "pages.languages_dir: a number: de.json"),
        ("de.json", b"{ \"sign_in\": \"\xff\" }", "pages.languages_dir: bytes: de.json UTF-8"),
        ("de.json", &long, "pages.languages_dir: long: de.json 64"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), name, bytes);
        let lines = format!("{ON}languages_dir = \"{}\"", dir.path().display());
        refused_for([(with_provider(&lines), reason)]);
    }
    refused_for([(
        with_provider(&format!("{ON}languages_dir = \"/not/there\"")),
        "pages.languages_dir: none",
    )]);
    let many = tempfile::tempdir().unwrap();
    for number in 0..=100 {
        file(many.path(), &format!("en-{number}.json"), b"{}");
    }
    let lines = format!("{ON}languages_dir = \"{}\"", many.path().display());
    refused_for([(with_provider(&lines), "pages.languages_dir: more than 100")]);
}

#[test]
fn a_logo_is_known_by_how_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let logo = |bytes: &[u8]| format!("logo_file = \"{}\"", file(dir.path(), "logo", bytes));
    for (bytes, media_type) in [
        (b"\x89PNG\r\n\x1a\n...".as_slice(), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF....WEBP", "image/webp"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "image/svg+xml"),
        (b"\xef\xbb\xbf <?xml version=\"1.0\"?><svg/>", "image/svg+xml"),
    ] {
        assert_eq!(pages(&logo(bytes)).logo.unwrap().media_type, media_type);
    }
    let large = [b"\x89PNG\r\n\x1a\n".as_slice(), "x".repeat(256 * 1024).as_bytes()].concat();
    for (bytes, reason) in [
        (b"".as_slice(), "pages.logo_file: no picture: SVG, PNG, JPEG, WebP"),
        (b"GIF89a", "pages.logo_file: no picture: SVG, PNG, JPEG, WebP"),
        (b"<html><script>", "pages.logo_file: no picture: SVG, PNG, JPEG, WebP"),
        (b"svg <svg>", "pages.logo_file: no picture: SVG, PNG, JPEG, WebP"),
        (&large, "pages.logo_file: more than 256"),
    ] {
        refused_for([(with_provider(&format!("{ON}{}", logo(bytes))), reason)]);
    }
}

#[test]
fn a_style_sheet_is_a_readable_text_of_64_kib_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let style = |name: &str, bytes: &[u8]| {
        format!("stylesheet_file = \"{}\"", file(dir.path(), name, bytes))
    };
    assert_eq!(pages(&style("a.css", b"a{}")).stylesheet.as_deref(), Some("a{}"));
    refused_for([
        (
            with_provider(&format!(
                "{ON}{}",
                style("long.css", " ".repeat(64 * 1024 + 1).as_bytes())
            )),
            "pages.stylesheet_file: more than 64",
        ),
        (
            with_provider(&format!("{ON}{}", style("bytes.css", b"\xff"))),
            "pages.stylesheet_file: not UTF-8",
        ),
        (
            with_provider(&format!("{ON}stylesheet_file = \"/not/there.css\"")),
            "pages.stylesheet_file: none: /not/there.css",
        ),
    ]);
}

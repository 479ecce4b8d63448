//! A browser without a window: it keeps cookies, follows redirects, and fills in forms for a person.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use mintgate_testkit::http::{Client, RequestBuilder};
use url::Url;

use super::PASSWORD;
use crate::http::{Answer, client, send};

/// The most redirects and pages on the way to an end.
const MOST_STEPS: usize = 20;

/// The cookies of a browser, by name: it visits one host.
pub(super) struct Browser {
    client: Client,
    cookies: BTreeMap<String, String>,
}

/// Where the browser comes to rest.
pub(super) enum End {
    /// At an address of another origin, which is not fetched.
    Left(Url),
    /// At a page without a form that the person would fill in.
    Page,
}

impl Browser {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { client: client()?, cookies: BTreeMap::new() })
    }

    pub(super) fn cookie(&self, name: &str) -> Result<String> {
        self.cookies.get(name).cloned().with_context(|| format!("there is no cookie {name}"))
    }

    pub(super) async fn send(&mut self, request: RequestBuilder) -> Result<Answer> {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let header = pairs.collect::<Vec<_>>().join("; ");
        let answer = send(request.header("cookie", header)).await?;
        for cookie in answer.all("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let Some((name, value)) = pair.trim().split_once('=') else { continue };
            let attributes = attributes.to_ascii_lowercase();
            let removed = value.is_empty()
                || attributes.contains("max-age=0")
                || attributes.contains("expires=thu, 01 jan 1970");
            if removed {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// Sends a request for a page, which is what some providers show to nobody but browsers.
    async fn navigate(&mut self, request: RequestBuilder) -> Result<Answer> {
        self.send(request.header("accept", "text/html")).await
    }

    /// Opens an address and does there what somebody of this name would, until nothing is left to do.
    pub(super) async fn visit(&mut self, address: &Url, person: &str) -> Result<End> {
        let mut at = address.clone();
        let mut request = self.client.get(at.clone());
        for _ in 0..MOST_STEPS {
            let answer = self.navigate(request).await?;
            if (301..=308).contains(&answer.status) {
                at = at.join(answer.header("location").context("a redirect leads nowhere")?)?;
                if at.origin() != address.origin() {
                    return Ok(End::Left(at));
                }
                request = self.client.get(at.clone());
                continue;
            }
            answer.expect_status(200).with_context(|| format!("at {at}"))?;
            let Some(form) = Form::find(&answer.body, person) else { return Ok(End::Page) };
            at = at.join(&form.action)?;
            request = if form.posts {
                self.client.post(at.clone()).form(&form.fields)
            } else {
                at.query_pairs_mut().extend_pairs(&form.fields);
                self.client.get(at.clone())
            };
        }
        bail!("no end after {MOST_STEPS} pages and redirects, the last of them {at}")
    }

    /// Whether the person must sign in where this address leads.
    pub(super) async fn asks_who_it_is(&mut self, address: &Url) -> Result<bool> {
        let mut at = address.clone();
        for _ in 0..MOST_STEPS {
            let answer = self.navigate(self.client.get(at.clone())).await?;
            match answer.header("location") {
                Some(location) => at = at.join(location)?,
                None => return Ok(asks_who_it_is(&answer.body)),
            }
            if at.origin() != address.origin() {
                return Ok(false);
            }
        }
        bail!("no end after {MOST_STEPS} redirects")
    }
}

/// Whether a page asks for a name or a password; some providers ask for one after the other.
fn asks_who_it_is(page: &str) -> bool {
    elements(page, "input").any(|(field, _)| {
        attribute(field, "type").as_deref() == Some("password")
            || matches!(attribute(field, "name").as_deref(), Some("username" | "login"))
    })
}

/// A form of a page with its fields filled in, ready to be sent.
#[derive(Debug)]
struct Form {
    action: String,
    posts: bool,
    fields: Vec<(String, String)>,
}

/// What a person types into a field or presses a button for, by the name that it has at some provider.
fn answer_to<'a>(field: &str, person: &'a str) -> Option<&'a str> {
    match field {
        "username" | "login" => Some(person),
        "password" => Some(PASSWORD),
        "allow" | "logout" => Some("yes"),
        _ => None,
    }
}

impl Form {
    /// The first form that a person of this name has something to do with, else the first of all.
    fn find(page: &str, person: &str) -> Option<Self> {
        let mut forms = elements(page, "form").map(|(attributes, rest)| {
            let inside = rest.split("</form").next().unwrap_or_default();
            // Buttons may be outside and name the form that they belong to.
            let outside = elements(page, "button").filter(|(button, _)| {
                attribute(button, "form").is_some_and(|id| Some(id) == attribute(attributes, "id"))
            });
            Self::filled(attributes, inside, outside.map(|(button, _)| button), person)
        });
        let first = forms.next()?;
        if first.1 {
            return Some(first.0);
        }
        Some(forms.find(|(_, concerns)| *concerns).map_or(first.0, |(form, _)| form))
    }

    fn filled<'a>(
        attributes: &str,
        inside: &'a str,
        outside: impl Iterator<Item = &'a str>,
        person: &str,
    ) -> (Self, bool) {
        let mut concerns = false;
        let mut fields = Vec::new();
        let buttons = elements(inside, "button").map(|(button, _)| button);
        for element in elements(inside, "input").map(|it| it.0).chain(buttons).chain(outside) {
            let Some(name) = attribute(element, "name") else { continue };
            let value = attribute(element, "value").unwrap_or_default();
            // Of several buttons with one name, somebody who agrees presses this one.
            let agrees = (value == "accept").then_some("accept");
            let value = match answer_to(&name, person).or(agrees) {
                Some(answer) => {
                    concerns = true;
                    answer.to_owned()
                }
                None if attribute(element, "type").as_deref() == Some("hidden") => value,
                None => continue,
            };
            fields.push((name, value));
        }
        let action = attribute(attributes, "action").unwrap_or_default();
        let posts =
            attribute(attributes, "method").is_some_and(|it| it.eq_ignore_ascii_case("post"));
        (Self { action, posts, fields }, concerns)
    }
}

/// The attributes of each element of this name, and the page behind its start tag.
fn elements<'a>(page: &'a str, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let start = format!("<{name}");
    let places: Vec<usize> = page.match_indices(&start).map(|(at, _)| at + start.len()).collect();
    places.into_iter().filter_map(move |at| {
        let rest = page.get(at..)?;
        let is_whole = rest.starts_with(|c: char| c.is_whitespace() || c == '>');
        is_whole.then(|| rest.split_once('>'))?
    })
}

fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    while let Some(at) = rest.find(name) {
        let (before, behind) = (rest.get(..at)?, rest.get(at + name.len()..)?);
        rest = behind;
        let is_whole = before.ends_with(char::is_whitespace);
        if let Some(value) = behind.strip_prefix('=').filter(|_| is_whole) {
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let value = match quote {
                Some(quote) => value.get(1..)?.split(quote).next()?,
                None => value.split(|c: char| c.is_whitespace() || c == '/').next()?,
            };
            return Some(unescaped(value));
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    [
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#43;", "+"),
        ("&#61;", "="),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
    .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> (String, bool, Vec<(String, String)>) {
        let form = Form::find(page, "alice").unwrap();
        (form.action, form.posts, form.fields)
    }

    #[test]
    fn a_form_is_filled_in_with_what_the_page_hides_and_what_the_person_knows() {
        let page = "<form action='/search'><input name=q></form>
            <form class=\"x\" method=\"POST\" action=\"/in?a=1&amp;b=2\">
            <input type=\"hidden\" name=\"token\" value=\"a&quot;b\"/><input name=\"username\">
            <input type=\"password\" name=\"password\"/><input type=\"checkbox\" name=\"remember\">
            <input type=\"submit\" value=\"Cancel\"><button>Go</button></form>";
        let fields = [("token", "a\"b"), ("username", "alice"), ("password", PASSWORD)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(found(page), ("/in?a=1&b=2".to_owned(), true, fields));
    }

    #[test]
    fn a_button_outside_belongs_to_the_form_that_it_names() {
        let page = "<form id=\"f\" method=\"post\" action=\"/end\"><input type=\"hidden\" name=\"x\" value=\"1\"></form>
            <button type=\"submit\" form=\"f\" value=\"yes\" name=\"logout\">Yes</button>";
        let fields = [("x", "1"), ("logout", "yes")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(found(page), ("/end".to_owned(), true, fields));
    }

    #[test]
    fn of_buttons_with_one_name_the_one_that_agrees_is_pressed() {
        let page = "<form method=\"post\" action=\"/consent\"><button name=\"answer\" value=\"deny\">No</button>
            <button name=\"answer\" value=\"accept\">Yes</button></form>";
        let fields = vec![("answer".to_owned(), "accept".to_owned())];
        assert_eq!(found(page), ("/consent".to_owned(), true, fields));
    }

    #[test]
    fn a_page_asks_who_it_is_for_a_name_or_a_password_alone() {
        assert!(asks_who_it_is("<input name=\"login\" type=\"text\">"));
        assert!(asks_who_it_is("<input id=\"p\" type=\"password\" name=\"p\">"));
        assert!(!asks_who_it_is(
            "<input type=\"hidden\" name=\"login_challenge\"><button>Yes</button>"
        ));
    }

    #[test]
    fn a_page_without_a_form_is_an_end() {
        assert!(Form::find("<p>signed out <formula></p>", "alice").is_none());
    }
}

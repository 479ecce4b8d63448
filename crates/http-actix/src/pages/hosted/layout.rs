//! The frame of the hosted pages: their markup around what each page says, and their headers.

use actix_web::http::header;
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::Hosted;
use super::language::Language;
use super::texts::{Texts, fill};
use crate::RequestId;
use crate::error::ErrorKind;
use crate::pages::html::escaped;

/// Nothing but the files of this service, no script, and no style within the page. The forms are our own, and
/// none is answered by a redirect to another site.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// Markup in the making. Only texts of the code become markup; all others are escaped.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, or the value of an attribute between quotation marks.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&escaped(text));
        self
    }
}

/// One answer of the hosted pages, in the language of its reader.
pub(super) struct View<'a> {
    pub(super) hosted: &'a Hosted,
    pub(super) language: &'a Language,
}

/// How a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Something was done.
    Good,
    /// Something went wrong.
    Bad,
}

/// A refusal as a page, complete but for the id of the request.
#[derive(Debug)]
pub(crate) struct RefusalPage {
    before_id: String,
    after_id: String,
    language: String,
}

impl RefusalPage {
    /// The page, with the code of the refusal and the id of the request for whoever asks for help.
    pub(crate) fn answer(
        &self,
        mut response: HttpResponseBuilder,
        kind: ErrorKind,
        id: &RequestId,
    ) -> HttpResponse {
        let Self { before_id, after_id, language } = self;
        add_headers(&mut response, language);
        let (code, id) = (kind.code(), escaped(id.as_str()));
        response.body(format!("{before_id}{code} {id}{after_id}"))
    }
}

impl View<'_> {
    pub(super) fn texts(&self) -> &Texts {
        &self.language.texts
    }

    /// A whole page.
    pub(super) fn page(
        &self,
        mut response: HttpResponseBuilder,
        title: &str,
        main: impl FnOnce(&mut Html),
    ) -> HttpResponse {
        add_headers(&mut response, &self.language.tag);
        response.body(self.document(title, None, main).0)
    }

    /// The page that says why something was refused, with a way on if there is one.
    pub(super) fn refusal(&self, title: &str, reason: &str, again: Option<&str>) -> RefusalPage {
        let document = self.document(title, None, |html| {
            message(html, Tone::Bad, reason);
            if let Some(again) = again {
                html.markup("<p><a class=\"button\" href=\"").text(again).markup("\">");
                html.text(&self.texts().try_again).markup("</a></p>");
            }
            html.markup("<p class=\"muted\"><small>\0</small></p>");
        });
        // No text has the character, which HTML does not allow.
        let (before_id, after_id) = document.0.split_once('\0').unwrap_or_default();
        RefusalPage {
            before_id: before_id.to_owned(),
            after_id: after_id.to_owned(),
            language: self.language.tag.clone(),
        }
    }

    /// A page that takes the browser on to an address by itself, by a link for whoever waits.
    pub(super) fn onwards(
        &self,
        mut response: HttpResponseBuilder,
        title: &str,
        address: &str,
    ) -> HttpResponse {
        add_headers(&mut response, &self.language.tag);
        let document = self.document(title, Some(address), |html| {
            html.markup("<p><a class=\"button\" href=\"").text(address).markup("\">");
            html.text(&self.texts().go_on).markup("</a></p>");
        });
        response.body(document.0)
    }

    fn document(&self, title: &str, onwards: Option<&str>, main: impl FnOnce(&mut Html)) -> Html {
        let Hosted { name, prefix, .. } = self.hosted;
        let mut html = Html::default();
        html.markup("<!doctype html><html lang=\"").text(&self.language.tag);
        html.markup("\" dir=\"").markup(self.language.direction());
        html.markup("\"><head><meta charset=\"utf-8\">");
        html.markup("<meta name=\"viewport\" content=\"width=device-width\">");
        html.markup("<meta name=\"color-scheme\" content=\"light dark\">");
        html.markup("<meta name=\"robots\" content=\"noindex\"><title>");
        html.text(title).markup(" – ").text(name).markup("</title>");
        if let Some(address) = onwards {
            html.markup("<meta http-equiv=\"refresh\" content=\"0; url=").text(address);
            html.markup("\">");
        }
        for file in self.hosted.stylesheets() {
            html.markup("<link rel=\"stylesheet\" href=\"").text(prefix).text(file).markup("\">");
        }
        html.markup("<link rel=\"icon\" href=\"").text(prefix).text(super::assets::LOGO);
        html.markup("\"></head><body><header>");
        self.brand(&mut html);
        html.markup("</header><main><h1>").text(title).markup("</h1>");
        main(&mut html);
        html.markup("</main></body></html>");
        html
    }

    /// Whose page it is, with the way back to the app.
    fn brand(&self, html: &mut Html) {
        let Hosted { name, home, prefix, has_logo, .. } = self.hosted;
        if let Some(home) = home {
            let label = fill(&self.texts().back, &[("name", name)]);
            html.markup("<a class=\"brand\" href=\"").text(home.as_str());
            html.markup("\" aria-label=\"").text(&label).markup("\">");
        } else {
            html.markup("<span class=\"brand\">");
        }
        if *has_logo {
            html.markup("<img class=\"logo\" alt=\"\" src=\"").text(prefix);
            html.text(super::assets::LOGO).markup("\">");
        }
        html.markup("<span>").text(name).markup("</span>");
        html.markup(if home.is_some() { "</a>" } else { "</span>" });
    }
}

/// A message, which is read out. One of trouble has the focus.
pub(super) fn message(html: &mut Html, tone: Tone, text: &str) {
    match tone {
        Tone::Good => html.markup("<p class=\"message good\" role=\"status\">"),
        Tone::Bad => {
            html.markup("<p class=\"message bad\" role=\"alert\" tabindex=\"-1\" autofocus>")
        }
    };
    html.text(text).markup("</p>");
}

fn add_headers(response: &mut HttpResponseBuilder, language: &str) {
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_LANGUAGE, language))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        // With `no-referrer`, browsers would not say of which origin a form is.
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .append_header((header::VARY, "Accept-Language, Cookie"));
}

//! The markup of the account page.

use actix_web::HttpResponse;
use mintgate_domain::ErrorCode;
use mintgate_domain::model::{LinkedIdentity, ProviderId, Role, Session, Timestamp};

use super::account::Account;
use super::actions::Action;
use super::layout::{Html, Tone, View, message};
use super::login::{badge, display_name};
use super::texts::{Texts, fill};
use super::user_agent::Device;
use super::{ACCOUNT, SIGN_OUT};
use crate::AppState;

/// The longest subject of an identity that is shown, in characters.
const MAX_SUBJECT: usize = 60;

/// What the page says of a notice: what was done, or why it was not; `None` if it is not known.
pub(super) fn words<'a>(texts: &'a Texts, notice: &str) -> Option<(Tone, &'a str)> {
    let is = |codes: &[ErrorCode]| codes.iter().any(|code| code.as_str() == notice);
    let good = match notice {
        "session_ended" => Some(&texts.session_ended),
        "others_ended" => Some(&texts.others_ended),
        "linked" => Some(&texts.linked),
        "unlinked" => Some(&texts.unlinked),
        _ => None,
    };
    if let Some(text) = good {
        return Some((Tone::Good, text));
    }
    let is_code = notice.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let bad = if notice == "repeat" {
        &texts.repeat
    } else if is(&[ErrorCode::IdentityTaken]) {
        &texts.taken
    } else if is(&[ErrorCode::LastIdentity]) {
        &texts.last_identity
    } else if is(&[ErrorCode::NotFound]) {
        &texts.gone
    } else if is(&[
        ErrorCode::InvalidState,
        ErrorCode::InvalidAccessToken,
        ErrorCode::SessionRevoked,
    ]) {
        &texts.link_elsewhere
    } else if is_code && !notice.is_empty() {
        texts.of_code(notice)
    } else {
        return None;
    };
    Some((Tone::Bad, bad))
}

/// The whole page.
pub(super) fn render(
    view: &View<'_>,
    state: &AppState,
    account: &Account,
    notice: Option<&str>,
) -> HttpResponse {
    let page = Page { view, state, account };
    view.page(HttpResponse::Ok(), &view.texts().your_account, |html| {
        if let Some((tone, text)) = notice.and_then(|notice| words(view.texts(), notice)) {
            message(html, tone, text);
        }
        page.profile(html);
        page.sessions(html);
        page.identities(html);
    })
}

struct Page<'a> {
    view: &'a View<'a>,
    state: &'a AppState,
    account: &'a Account,
}

impl Page<'_> {
    fn profile(&self, html: &mut Html) {
        let Account { caller, profile, .. } = self.account;
        let texts = self.view.texts();
        let roles = caller.roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
        let roles = Some(roles).filter(|roles| !roles.is_empty());
        html.markup("<section class=\"card\"><dl>");
        for (label, value) in [
            (&texts.name, &profile.name),
            (&texts.user_name, &profile.preferred_username),
            (&texts.email, &profile.email),
            (&texts.roles, &roles),
        ] {
            if let Some(value) = value {
                html.markup("<div><dt>").text(label).markup("</dt><dd dir=\"auto\">");
                html.text(value).markup("</dd></div>");
            }
        }
        html.markup("</dl>");
        let to = self.view.hosted.path(SIGN_OUT);
        button(html, &to, None, &texts.sign_out, None);
        html.markup("</section>");
    }

    fn sessions(&self, html: &mut Html) {
        let (texts, sessions) = (self.view.texts(), &self.account.sessions);
        let is_own = |session: &&Session| session.id == self.account.caller.session;
        html.markup("<section aria-labelledby=\"sessions\"><h2 id=\"sessions\">");
        html.text(&texts.sessions).markup("</h2><ul class=\"cards\">");
        for session in sessions.iter().filter(is_own) {
            self.session(html, session, true);
        }
        for session in sessions.iter().filter(|session| !is_own(session)) {
            self.session(html, session, false);
        }
        html.markup("</ul><div class=\"buttons\">");
        if sessions.len() > 1 {
            self.action(html, Action::EndOthers, None, &texts.end_others, None);
        }
        self.action(html, Action::EndAll, None, &texts.end_all, None);
        html.markup("</div></section>");
    }

    fn session(&self, html: &mut Html, session: &Session, is_own: bool) {
        let texts = self.view.texts();
        let device = match session.client.user_agent.as_deref().map(Device::of) {
            Some(Device::Known { browser, system }) => {
                fill(&texts.browser_on_system, &[("browser", browser), ("system", system)])
            }
            Some(Device::Other(text)) if !text.trim().is_empty() => text,
            _ => texts.unknown_device.clone(),
        };
        let provider = self.name_of(&session.provider);
        let (created, used) = (moment(session.created_at), moment(session.last_used_at));
        html.markup("<li class=\"card\"><div><h3 dir=\"auto\">").text(&device).markup("</h3>");
        if is_own {
            html.markup("<p class=\"this\">").text(&texts.this_device).markup("</p>");
        }
        html.markup("<p class=\"muted\">").text(&fill(&texts.last_used, &[("time", &used)]));
        html.markup("</p><p class=\"muted\">");
        html.text(&fill(&texts.signed_in_at, &[("time", &created), ("provider", &provider)]));
        html.markup("</p>");
        if let Some(network) = &session.client.ip_prefix {
            html.markup("<p class=\"muted\">");
            html.text(&fill(&texts.network, &[("network", network)])).markup("</p>");
        }
        html.markup("</div>");
        if !is_own {
            let label = fill(&texts.end_session, &[("device", &device), ("time", &used)]);
            let id = session.id.to_string();
            self.action(html, Action::EndSession, Some(&id), &texts.sign_out, Some(&label));
        }
        html.markup("</li>");
    }

    fn identities(&self, html: &mut Html) {
        let (texts, identities) = (self.view.texts(), &self.account.identities);
        html.markup("<section aria-labelledby=\"identities\"><h2 id=\"identities\">");
        html.text(&texts.identities).markup("</h2><p class=\"muted\">");
        html.text(&texts.identities_help).markup("</p><ul class=\"cards\">");
        for linked in identities {
            self.identity(html, linked, identities.len() == 1);
        }
        html.markup("</ul><div class=\"buttons\">");
        for provider in self.state.use_cases.begin_login.providers() {
            let text = fill(&texts.link, &[("provider", display_name(provider))]);
            let id = provider.policy.id.as_str();
            self.action(html, Action::Link, Some(id), &text, None);
        }
        html.markup("</div></section>");
    }

    fn identity(&self, html: &mut Html, linked: &LinkedIdentity, is_only: bool) {
        let texts = self.view.texts();
        let provider = self.name_of(&linked.provider);
        let subject: String = linked.identity.subject.chars().take(MAX_SUBJECT).collect();
        html.markup("<li class=\"card\">");
        badge(html, &provider);
        html.markup("<div><h3 dir=\"auto\">").text(&provider);
        html.markup("</h3><p class=\"muted\" dir=\"auto\">").text(&subject);
        html.markup("</p><p class=\"muted\">");
        html.text(&fill(&texts.linked_since, &[("time", &moment(linked.linked_at))]));
        html.markup("</p>");
        if is_only {
            html.markup("<p>").text(&texts.last_identity).markup("</p></div>");
        } else {
            html.markup("</div>");
            let id = format!("{:032x}", linked.identity.short_name());
            let values = [("provider", provider.as_str()), ("subject", &subject)];
            let label = fill(&texts.unlink_which, &values);
            self.action(html, Action::Unlink, Some(&id), &texts.unlink, Some(&label));
        }
        html.markup("</li>");
    }

    /// A form of one button, which does something to what the id names.
    fn action(
        &self,
        html: &mut Html,
        action: Action,
        id: Option<&str>,
        text: &str,
        label: Option<&str>,
    ) {
        let to = format!("{}/{}", self.view.hosted.path(ACCOUNT), action.name());
        button(html, &to, id, text, label);
    }

    /// The name of a provider; its id if it is not configured any more.
    fn name_of(&self, id: &ProviderId) -> String {
        let mut providers = self.state.use_cases.begin_login.providers();
        let known = providers.find(|known| known.policy.id == *id);
        known.map_or_else(|| id.to_string(), |known| display_name(known).to_owned())
    }
}

/// A form of one button.
fn button(html: &mut Html, to: &str, id: Option<&str>, text: &str, label: Option<&str>) {
    html.markup("<form method=\"post\" action=\"").text(to).markup("\">");
    if let Some(id) = id {
        html.markup("<input type=\"hidden\" name=\"id\" value=\"").text(id).markup("\">");
    }
    html.markup("<button");
    if let Some(label) = label {
        html.markup(" aria-label=\"").text(label).markup("\"");
    }
    html.markup(">").text(text).markup("</button></form>");
}

/// A time in UTC, to the minute, in digits that are read alike in every language.
fn moment(at: Timestamp) -> String {
    let Some(at) = at.to_datetime() else { return String::new() };
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", at.hour(), at.minute())
}

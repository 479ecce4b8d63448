// Find somebody, see the sessions, explain them, end them.

import { badge, card, confirmed, el, facts, orNone, quiet, stranger, table, time } from "./elements.js";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const READS = "This token has the scope read: it may look, and change nothing.";

const path = (...parts) => "/" + parts.map(encodeURIComponent).join("/");
const link = (kind, id, text) => el("a", { href: `#/${kind}/${encodeURIComponent(id)}` }, text ?? stranger(id));
const named = (user) => user.name ?? user.preferredUsername ?? user.email ?? user.id;

function fail(place, error) {
  const words = error.status === 404 ? "Nobody and nothing is known by this." : `${error.message}.`;
  place.replaceChildren(el("p.refused", { role: "alert" }, words));
}

// A button for a change, which a token of the scope `read` cannot press.
function changing(context, name, title, question, act) {
  const may = context.mayWrite();
  const press = async (event) => {
    if (!may || !(await confirmed(title, question, name))) return;
    event.target.disabled = true;
    await act();
  };
  return el("button.danger", { type: "button", click: press, "aria-disabled": may ? null : "true",
    "aria-describedby": may ? null : "reads", title: may ? null : READS }, name);
}

const note = (context) => (context.mayWrite() ? null : el("p.quiet", { id: "reads" }, READS));

// Says what has been done, where a screen reader hears it.
function say(text, isBad) {
  const place = document.getElementById("said");
  if (!place) return;
  place.replaceChildren(isBad ? el("span.refused", null, text) : text);
  // The button that was pressed is gone; whoever uses the keyboard goes on from here.
  place.focus({ preventScroll: true });
}

export async function people(view, context, _now, _id, isNew) {
  if (!isNew) return;
  document.title = "People – Mintgate console";
  const [found, input] = [el("div", { id: "found", "aria-live": "polite" }), el("input", { id: "find", type: "search", autocomplete: "off", spellcheck: "false", maxlength: "200" })];
  const list = async (text, after, keep) => {
    const query = new URLSearchParams({ ...(text ? { search: text } : {}), ...(after ? { after } : {}), limit: "50" });
    try {
      const page = await context.get(`/users?${query}`);
      const users = [...keep, ...page.users];
      const rows = users.map((user) => [el("a", { href: `#/person/${user.id}` }, stranger(named(user))), orNone(user.email),
        user.disabledAt ? badge("bad", "disabled") : badge("good", "may sign in"), user.identities.map((it) => [stranger(it.provider), " "]), time(user.createdAt)]);
      found.replaceChildren(table("People", ["name", "email", "standing", "providers", "since"], rows, text ? "Nobody is found by this." : "Nobody has signed in yet."),
        page.next ? el("button", { type: "button", click: () => list(text, page.next, users) }, "More") : "");
    } catch (error) {
      fail(found, error);
    }
  };
  const find = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    const known = async (address) => context.get(address).then(() => true, () => false);
    if (UUID.test(text)) {
      if (await known(path("users", text))) location.hash = `#/person/${text}`;
      else location.hash = `#/sessions/${text}`;
    } else if (/^[0-9a-f]{32}$/i.test(text)) {
      location.hash = `#/requests/${text}`;
    } else {
      await list(text, null, []);
    }
  };
  view.replaceChildren(el("section.card", null, el("h1", null, "People"),
    el("form.row", { submit: find, role: "search" }, el("label", { for: "find" }, "Part of a name, an address or a subject; or the id of a user, session or request"), input,
      el("button.primary", { type: "submit" }, "Find")), found));
  input.focus();
  await list("", null, []);
}

function sessionRows(context, sessions, again) {
  const end = (one) => changing(context, "End", "End this session?", [
    "Nothing of it works any more, on any replica. Access tokens that other services verify offline are good until they expire."], async () => {
    await act(context, "DELETE", path("sessions", one.sid), "The session has ended.", again);
  });
  return sessions.map((one) => [badge(one.state === "live" ? "good" : "plain", one.state === "live" ? "live" : `${one.state}: ${one.endReason ?? "unknown"}`),
    orNone(one.provider), time(one.lastUsedAt), el("span", null, orNone(one.ip), one.userAgent ? el("small.agent", null, stranger(one.userAgent)) : null),
    el("span.row", null, link("sessions", one.sid, "Explain"), one.state === "live" ? end(one) : null)]);
}

async function act(context, method, address, done, again) {
  try {
    const change = await context.change(method, address);
    await again();
    const ended = change.sessionsEnded === undefined ? "" : ` Sessions ended: ${change.sessionsEnded}.`;
    say(change.changed ? `${done}${ended}` : "Nothing was different: it was so already.");
    // The audit log is written a moment after the answer.
    setTimeout(() => again().catch(() => {}), 1_500);
  } catch (error) {
    await again().catch(() => {});
    say(error.status === 0 || error.status >= 500 ? `${error.message}. It is not known whether anything was changed: try again, twice does no harm.` : `${error.message}.`, true);
  }
}

const SESSION_HEADS = ["state", "provider", "last used (UTC)", "from", "actions"];

export async function person(view, context, _now, id, isNew) {
  if (!isNew) return;
  document.title = "Person – Mintgate console";
  const place = el("div", null);
  view.replaceChildren(el("p", null, el("a", { href: "#/people" }, "People")), el("p.said", { id: "said", role: "status", tabindex: "-1" }), place);
  const again = async () => {
    const user = await context.get(path("users", id));
    const [all, reasons] = [el("div", null), el("div", { "aria-live": "polite" })];
    const ended = async (after, keep) => {
      const page = await context.get(`${path("users", id, "sessions")}?${new URLSearchParams({ limit: "50", ...(after ? { after } : {}) })}`);
      const sessions = [...keep, ...page.sessions];
      all.replaceChildren(table("All sessions", SESSION_HEADS, sessionRows(context, sessions, again), "None."),
        page.next ? el("button", { type: "button", click: () => ended(page.next, sessions) }, "More") : "");
    };
    const explain = async () => {
      const why = await context.get(path("users", id, "explain"));
      reasons.replaceChildren(
        table("Roles", ["role", "because"], why.roles.map((it) => [el("code", null, stranger(it.role)), [
          it.granted ? ["granted", it.grantedBy ? [" by ", stranger(it.grantedBy.actor), ", ", time(it.grantedBy.at)] : "", ". "] : "",
          it.byRules.length ? `The rules gave it to ${it.byRules.length} live sessions. ` : "", it.otherwise.length ? `${it.otherwise.length} live sessions have it for another reason.` : ""].flat(2)]), "No roles."),
        el("h3", null, "Logins that were denied"), entries(why.denied, "None is in the audit log."),
        why.disabledBy ? el("h3", null, "Disabled by") : "", why.disabledBy ? entries([why.disabledBy]) : "");
    };
    const fallible = (work, where) => () => work().catch((error) => fail(where, error));
    const whole = path("users", id);
    place.replaceChildren(
      el("section.card", null, el("h1", null, stranger(named(user))),
        facts([["user id", el("code", null, user.id)], ["standing", user.disabledAt ? badge("bad", "disabled") : badge("good", "may sign in")],
          user.disabledAt ? ["disabled at", time(user.disabledAt)] : null, ["name", orNone(user.name)], ["user name", orNone(user.preferredUsername)],
          ["email", orNone(user.email)], ["since", time(user.createdAt)],
          ["granted roles", user.grantedRoles.length ? user.grantedRoles.map((role) => [el("code", null, stranger(role)), " "]).flat() : quiet("none")]]),
        note(context),
        el("div.row", null,
          changing(context, "End all sessions", "End all sessions?", ["All live sessions of ", stranger(named(user)), " end, on every replica. Signing in again is possible."],
            () => act(context, "DELETE", `${whole}/sessions`, "All sessions have ended.", again)),
          user.disabledAt
            ? changing(context, "Enable", "Enable this person?", [stranger(named(user)), " can sign in again. What has ended stays ended."],
              () => act(context, "POST", `${whole}/enable`, "The person can sign in again.", again))
            : changing(context, "Disable", "Disable this person?", [stranger(named(user)), " is signed out everywhere and cannot sign in any more, until somebody enables them."],
              () => act(context, "POST", `${whole}/disable`, "The person is disabled.", again)))),
      card("Live sessions", table("Live sessions", SESSION_HEADS, sessionRows(context, user.sessions, again), "Nowhere signed in."),
        el("button", { type: "button", click: fallible(() => ended(null, []), all) }, "Show ended ones too"), all),
      card("Identities", table("Identities", ["provider", "issuer", "subject", "linked (UTC)"], user.identities.map((it) =>
        [stranger(it.provider), stranger(it.issuer), stranger(it.subject), time(it.linkedAt)]), "None.")),
      card("Why", el("button", { type: "button", click: fallible(explain, reasons) }, "Explain roles and denied logins"), reasons));
  };
  await again().catch((error) => fail(place, error));
}

function entries(list, empty) {
  const details = (entry) => Object.entries(entry.details).map(([key, value]) => el("div", null, `${key}: `, stranger(value)));
  return table("Entries of the audit log", ["at (UTC)", "what", "by", "details", "from", "request"], list.map((it) => [time(it.at), el("code", null, it.kind), stranger(it.actor),
    el("span", null, it.subject ? el("div", null, "subject: ", stranger(it.subject)) : null, details(it), it.erased ? quiet("personal data erased") : null, it.late ? quiet("written late") : null),
    el("span", null, orNone(it.network), it.userAgent ? el("small.agent", null, stranger(it.userAgent)) : null),
    it.requestId ? link("requests", it.requestId) : quiet("none")]), empty ?? "None.");
}

const REASONS = {
  logout: "the person signed out", revoked_by_client: "a back end revoked one of its tokens", reuse: "a refresh token that had been replaced long before was shown: somebody may have a copy of it",
  admin: "an operator ended it", user_disabled: "an operator disabled the person", user_deleted: "an operator deleted the person",
  expired_idle: "it was not used for too long", expired_absolute: "its time was over", provider_logout: "the provider ended it", provider_refused: "the provider, asked again, refused",
  restored: "a backup of the store was restored after it was opened",
};

export async function session(view, context, _now, sid, isNew) {
  if (!isNew) return;
  document.title = "Session – Mintgate console";
  const place = el("div", null);
  view.replaceChildren(el("p", null, el("a", { href: "#/people" }, "People")), el("p.said", { id: "said", role: "status", tabindex: "-1" }), place);
  const again = async () => {
    const it = await context.get(path("sessions", sid, "explain"));
    place.replaceChildren(
      el("section.card", null, el("h1", null, "Session"), facts([["session id", el("code", null, it.sid)],
        ["state", badge(it.state === "live" ? "good" : "plain", it.state)],
        it.endReason ? ["because", `${REASONS[it.endReason] ?? it.endReason}`] : null, it.endedAt ? ["ended", time(it.endedAt)] : null,
        ["person", it.user ? link("person", it.user) : quiet("deleted")], ["provider", orNone(it.provider)], ["subject", orNone(it.subject)],
        ["opened", time(it.createdAt)], ["last used", time(it.lastUsedAt)], ["ends unless used", time(it.expiresAt)], ["from", orNone(it.ip)], ["with", orNone(it.userAgent)],
        ["roles", it.roles?.length ? it.roles.map((role) => [el("code", null, stranger(role)), " "]).flat() : quiet("none")]]),
        it.state === "live" ? [note(context), el("div.row", null, changing(context, "End", "End this session?",
          ["Nothing of it works any more, on any replica. Access tokens that other services verify offline are good until they expire."],
          () => act(context, "DELETE", path("sessions", sid), "The session has ended.", again)))] : null),
      it.endedBy ? card("Ended by", entries([it.endedBy])) : "",
      card("What the audit log knows", entries(it.entries, "Nothing.")));
  };
  await again().catch((error) => fail(place, error));
}

export async function request(view, context, _now, id, isNew) {
  if (!isNew) return;
  document.title = "Request – Mintgate console";
  const place = el("div", null);
  view.replaceChildren(el("section.card", null, el("h1", null, "Request ", stranger(id)),
    el("p.quiet", null, "Every request that carries this id, as far as the audit log noted it. A caller can choose the id: look at the time and the network."), place));
  try {
    place.replaceChildren(entries((await context.get(path("requests", id, "explain"))).entries, "The audit log knows nothing of it: a refused code or token is not noted, as nobody has vouched for anybody."));
  } catch (error) {
    fail(place, error);
  }
}

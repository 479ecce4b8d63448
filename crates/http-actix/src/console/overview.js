// How the process is: health, charts, providers, keys, configuration, audit log, refusals.

import { age, badge, card, el, facts, orNone, quiet, show, stranger, svg, table, time } from "./elements.js";

const HOUR = 60;
// What each outcome means for whoever looks. What is not listed is the caller's fault.
const MEANING = {
  good: ["success", "rotated", "replayed"],
  watch: ["access_denied", "reused", "revoked"],
  fault: ["failed", "internal_error", "overloaded", "provider_error", "provider_timeout", "provider_unavailable",
    "roles_unavailable", "store_unavailable", "token_generation_failed", "token_too_large"],
};
const KINDS = ["good", "refused", "watch", "fault"];
const kindOf = (outcome) => Object.keys(MEANING).find((kind) => MEANING[kind].includes(outcome)) ?? "refused";
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function totals(minutes, member) {
  const all = {};
  for (const minute of minutes) {
    for (const [outcome, count] of Object.entries(minute[member])) all[outcome] = (all[outcome] ?? 0) + count;
  }
  return Object.entries(all).sort((a, b) => KINDS.indexOf(kindOf(a[0])) - KINDS.indexOf(kindOf(b[0])) || b[1] - a[1]);
}

// One column a minute, the present one at the right; minutes of which nothing is known are hatched.
function chart(title, minutes, member) {
  const all = totals(minutes, member);
  const most = Math.max(1, ...minutes.map((minute) => sum(Object.values(minute[member]))));
  const [column, height] = [10, 100];
  const first = HOUR + 1 - minutes.length;
  const columns = minutes.map((minute, index) => {
    let top = height;
    const parts = KINDS.map((kind) => {
      const count = sum(Object.entries(minute[member]).filter(([outcome]) => kindOf(outcome) === kind).map(([, n]) => n));
      if (!count) return null;
      const tall = (count / most) * height;
      top -= tall;
      return svg(`rect.${kind}`, { x: (first + index) * column + 1, y: top, width: column - 2, height: tall });
    });
    const words = Object.entries(minute[member]).map(([outcome, count]) => `${count} ${outcome}`).join(", ");
    return svg("g", null, svg("title", null, `${minute.from.slice(11, 16)} UTC: ${words || "nothing"}`),
      svg("rect.touch", { x: (first + index) * column, y: 0, width: column, height }), parts);
  });
  const unknown = first > 0 ? svg("rect.unknown", { x: 0, y: 0, width: first * column, height }) : null;
  const said = all.map(([outcome, count]) => `${count} ${outcome}`).join(", ") || "nothing";
  const busy = minutes.filter((minute) => Object.keys(minute[member]).length).reverse();
  return el("section.card", null,
    el("h2", null, title),
    el("figure", null,
      el("div.plot", null,
        el("span.most", { "aria-hidden": "true" }, String(most)),
        svg("svg", { viewBox: `0 0 ${(HOUR + 1) * column} ${height}`, preserveAspectRatio: "none", role: "img",
          "aria-label": `${title}, the last ${minutes.length} minutes: ${said}` }, unknown, columns)),
      el("div.axis", { "aria-hidden": "true" }, el("span", null, "1 h ago"),
        first > 1 ? el("span", null, `counted since ${minutes[0]?.from.slice(11, 16) ?? "now"} UTC`) : null, el("span", null, "now")),
      el("figcaption", null, el("ul.legend", null, all.length ? all.map(([outcome, count]) =>
        el("li", null, el(`i.${kindOf(outcome)}`, null), `${outcome} `, el("b", null, String(count)))) : el("li", null, quiet("nothing in the last hour"))))),
    el("details", { "data-key": title }, el("summary", { "data-key": `${title} summary` }, "As a table"),
      table(title, ["minute (UTC)", "outcomes"], busy.map((minute) => [minute.from.slice(11, 16),
        Object.entries(minute[member]).map(([outcome, count]) => `${count} ${outcome}`).join(", ")]), "Nothing in the last hour.")));
}

function health(now) {
  const count = (member, wanted) => sum(totals(now.minutes, member).filter(([outcome]) => wanted(kindOf(outcome))).map(([, n]) => n));
  const tile = (kind, name, value, more) => el(`div.tile.${kind}`, null, el("span", null, name), el("strong", null, value), more ? el("small", null, more) : null);
  const faults = count("signIns", (kind) => kind === "fault") + count("refreshes", (kind) => kind === "fault");
  const down = now.providers.filter((provider) => provider.circuit !== "closed").length;
  const file = { same: ["good", "as in the file"], none: ["plain", "no file"], differs: ["bad", "differs from the file"], unusable: ["bad", "file unusable"] }[now.configuration.file];
  return el("div.tiles", null,
    tile(now.notReady ? "bad" : "good", "Health", now.notReady ? "Not ready" : "Ready", now.notReady),
    tile("plain", "Signed in", String(count("signIns", (kind) => kind === "good")), "last hour"),
    tile("plain", "Sign-ins refused", String(count("signIns", (kind) => kind === "refused" || kind === "watch")), "last hour"),
    tile("plain", "Refreshed", String(count("refreshes", (kind) => kind === "good")), "last hour"),
    tile(faults ? "bad" : "good", "Faults", String(faults), "ours and providers’, last hour"),
    tile(down ? "bad" : "good", "Providers", down ? `${down} of ${now.providers.length} down` : "all up"),
    tile(file[0], "Configuration", file[1]));
}

const CIRCUITS = { closed: ["good", "closed: asked as usual"], half_open: ["warn", "half open: one call to try"], open: ["bad", "open: not asked, it failed"] };

function providers(now) {
  const rows = now.providers.map((provider) => [stranger(provider.id), badge(...CIRCUITS[provider.circuit]), String(provider.signedIn), String(provider.notSignedIn)]);
  return card("Providers", table("Providers", ["provider", "circuit", "signed in, last hour", "not signed in, last hour"], rows, "None."));
}

function keys(now) {
  const rows = now.keys.map((key) => [`${key.use} tokens`, badge({ current: "good", unusable: "bad" }[key.state] ?? "plain", key.state), key.algorithm ?? "unknown",
    el("time", { datetime: key.createdAt, title: key.createdAt }, age(key.createdAt)), el("code", null, key.kid)]);
  return card("Signing keys", table("Signing keys", ["for", "state", "algorithm", "age", "kid"], rows, "No keys are loaded."));
}

function configuration(now) {
  const { hash, file, differing, mistakes } = now.configuration;
  const said = {
    none: () => el("p", null, "This process was not started from a file."),
    same: () => el("p", null, "The file says what runs. Secrets are not compared."),
    differs: () => [el("p", null, "A restart would change these keys. Secrets are not compared."),
      el("ul", null, differing.map((key) => el("li", null, el("code", null, key))))],
    unusable: () => [el("p", null, "With the file as it is now, the service would not start again:"), el("pre", null, mistakes)],
  }[file]();
  return card("Configuration", said, facts([["runs", el("code", { title: hash }, hash.slice(0, 16))]]));
}

function auditLog(now) {
  const log = now.auditLog;
  return card("Audit log", el("p.quiet", null, "As of a minute ago."), facts([
    ["entries", String(log.entries)], ["oldest", time(log.oldest)], ["old ones last deleted", time(log.prunedAt)],
    ["waiting to be written", log.queued ? badge("warn", String(log.queued)) : "0"],
    ["lost", log.dropped ? badge("bad", String(log.dropped)) : "0"],
  ]));
}

const MANY = 12;

function refusalRows(list) {
  return list.map((it) => [time(it.at), el("span", null, badge(it.status >= 500 ? "bad" : "plain", String(it.status)), " ", el("code.word", null, it.errorCode)),
    orNone(it.reason), el("span", null, el("code.word", null, `${it.method} `, stranger(it.route)), it.provider ? [" ", stranger(it.provider)] : null),
    el("span", null, orNone(it.network), it.userAgent ? el("small.agent", null, stranger(it.userAgent)) : null),
    el("a.word", { href: `#/requests/${encodeURIComponent(it.requestId)}`, "data-key": it.requestId, title: it.requestId, "aria-label": `Explain request ${it.requestId}` }, stranger(it.requestId.slice(0, 10)), "…")]);
}

const REFUSAL_HEADS = ["at (UTC)", "answer", "reason", "request", "from", "explain"];

export function overview(view, _context, now, _id, isNew) {
  if (isNew) {
    document.title = "Mintgate console";
    view.replaceChildren(el("h1.hidden", null, "Overview"),
      ...["health", "charts", "details", "refusals"].map((name) => el(`div.${name}`, { id: `part-${name}` })));
  }
  const part = (name) => document.getElementById(`part-${name}`);
  show(part("health"), [now.notReady, now.minutes, now.providers, now.configuration.file], () => health(now));
  show(part("charts"), now.minutes, () => [chart("Sign-ins a minute", now.minutes, "signIns"), chart("Refreshes a minute", now.minutes, "refreshes")]);
  show(part("details"), [now.providers, now.keys, now.configuration, now.auditLog],
    () => [providers(now), configuration(now), keys(now), auditLog(now)]);
  show(part("refusals"), now.refusals, () => el("section.card", null,
    el("h2", null, "Recent refusals"),
    table("Recent refusals", REFUSAL_HEADS, refusalRows(now.refusals.slice(0, MANY)), "Nothing was refused since the start."),
    now.refusals.length ? el("p", null, el("a", { href: "#/refusals", "data-key": "all refusals" }, "All that are kept")) : null));
}

let chosen = "";

export function refusals(view, context, now, id, isNew) {
  if (isNew) document.title = "Refusals – Mintgate console";
  show(view, [now.refusals, chosen], () => {
    const counts = Object.entries(now.refusalCounts);
    const select = el("select", { id: "code", "data-key": "code", change: (event) => { chosen = event.target.value; refusals(view, context, now, id, false); } },
      el("option", { value: "" }, `all codes (${sum(counts.map(([, count]) => count))} since the start)`),
      counts.map(([code, count]) => el("option", { value: code, selected: code === chosen }, `${code} (${count})`)));
    const list = now.refusals.filter((it) => !chosen || it.errorCode === chosen);
    return el("section.card", null, el("h1", null, "Refusals"),
      el("p.quiet", null, "The last eight of each error code are kept, in the memory of this process. Reasons are for you alone: callers were not told them."),
      el("div.row", null, el("label", { for: "code" }, "Error code"), select),
      table("Refusals", REFUSAL_HEADS, refusalRows(list), "Nothing was refused since the start."));
  });
}

// The console: the token, the calls of the admin API, the views and the clock.

import { badge, el } from "./elements.js";
import { overview, refusals } from "./overview.js";
import { people, person, request, session } from "./people.js";

const POLL_MS = 5_000;
const FORGET_MS = 15 * 60_000;
const ANSWER_LIMIT_MS = 10_000;

const $ = (id) => document.getElementById(id);

// The only place where the token is; empty while a client certificate stands for it.
let token = null;
let latest = null;
let lastActivity = Date.now();
let polling = null;

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    Object.assign(this, { status, code });
  }
}

// Calls the admin API; the answer's JSON.
async function call(method, path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  // The page has no cookies; without credentials a browser shows no client certificate.
  const options = { method, headers, cache: "no-store", credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(ANSWER_LIMIT_MS) };
  let answer;
  try {
    answer = await fetch(`/admin/v1${path}`, options);
  } catch {
    throw new Refused(0, null, "Mintgate does not answer");
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  if (answer.status === 401) lock(token ? "Mintgate does not know this token." : "This browser has shown no client certificate that Mintgate accepts.");
  throw new Refused(answer.status, body?.errorCode, body?.message ?? `HTTP status ${answer.status}`);
}

// What the views may use.
const context = {
  get: (path) => call("GET", path),
  change: (method, path) => call(method, path),
  mayWrite: () => latest?.token.scope === "write",
};

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text ?? "";
}

async function poll() {
  if (token === null || document.hidden) return;
  if (Date.now() - lastActivity > FORGET_MS) {
    lock("The token was forgotten: 15 minutes without a key or a click.");
    return;
  }
  try {
    const now = await context.get("/overview");
    if (token === null) return;
    latest = now;
    document.body.classList.remove("stale");
    trouble(null);
  } catch (error) {
    if (token === null) return;
    document.body.classList.add("stale");
    const since = latest ? ` What you see is of ${latest.at.slice(11, 19)} UTC.` : "";
    trouble(`${error.message}.${since}`);
  }
  showState();
  const [name] = route();
  if (name === "" || name === "refusals") render();
}

function showState() {
  if (!latest) return;
  const stale = document.body.classList.contains("stale");
  const text = stale ? "No answer" : latest.notReady ? "Not ready" : "Ready";
  if ($("state").textContent !== text) {
    $("state").className = `badge ${text === "Ready" ? "good" : "bad"}`;
    $("state").textContent = text;
  }
  $("state").hidden = false;
  $("foot").replaceChildren(`Mintgate ${latest.version} · this process alone · ${latest.token.kind} “`, el("bdi", null, latest.token.name),
    "” ", badge("plain", latest.token.scope));
}

function route() {
  const [name = "", id = ""] = location.hash.replace(/^#\//, "").split("/");
  try {
    return [name.startsWith("#") ? "" : name, decodeURIComponent(id)];
  } catch {
    return ["", ""];
  }
}

const VIEWS = { "": overview, refusals, people, person, sessions: session, requests: request };
let shown = null;

function render() {
  if (token === null) return;
  const [name, id] = route();
  const view = VIEWS[name] ?? overview;
  const key = `${name}/${id}`;
  const isNew = shown !== key;
  if (isNew) {
    shown = key;
    $("view").replaceChildren();
    delete $("view").dataset.shown;
  }
  for (const link of document.querySelectorAll("#views a")) {
    const own = link.getAttribute("href") === `#/${{ person: "people", sessions: "people", requests: "refusals" }[name] ?? name}`;
    if (own) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  view($("view"), context, latest, id, isNew);
}

function lock(reason) {
  token = null;
  latest = null;
  shown = null;
  clearInterval(polling);
  document.body.classList.remove("stale");
  $("confirm").close();
  $("view").replaceChildren();
  $("foot").replaceChildren();
  trouble(null);
  for (const id of ["views", "lock", "state"]) $(id).hidden = true;
  $("open").hidden = false;
  $("token").value = "";
  $("refused").textContent = reason ?? "";
  $("token").focus();
}

async function open(event) {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  $("refused").textContent = "";
  lastActivity = Date.now();
  try {
    latest = await context.get("/overview");
  } catch (error) {
    if (token !== null) lock(`${error.message}.`);
    return;
  }
  $("open").hidden = true;
  for (const id of ["views", "lock"]) $(id).hidden = false;
  showState();
  render();
  $("content").focus({ preventScroll: true });
  scrollTo(0, 0);
  polling = setInterval(poll, POLL_MS);
}

// Dark, light, or what the system says until somebody chooses.
const dark = matchMedia("(prefers-color-scheme: dark)");
function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}
function nameTheme() {
  $("theme").textContent = isDark() ? "Light" : "Dark";
  $("theme").title = `Show the page ${isDark() ? "light" : "dark"}`;
}
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
dark.addEventListener("change", nameTheme);
nameTheme();

for (const kind of ["keydown", "pointerdown"]) {
  addEventListener(kind, () => { lastActivity = Date.now(); }, { passive: true });
}
addEventListener("hashchange", () => {
  // The link that skips to the content is no view.
  if (location.hash === "#content") return;
  $("content").focus({ preventScroll: true });
  scrollTo(0, 0);
  render();
});
// A page that the browser keeps for going back would keep the token.
addEventListener("pagehide", () => { token = null; });
addEventListener("pageshow", (event) => { if (event.persisted) lock("The page was left."); });
document.addEventListener("visibilitychange", poll);
$("open").addEventListener("submit", open);
$("lock").addEventListener("click", () => lock());
lock();

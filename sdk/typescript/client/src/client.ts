import { ownFetch } from "./fetch.js";
import { type Answer, caller } from "./http.js";
import { logins, takeResult } from "./login.js";
import { clearHint, hint, readJson, type Shared, storage, writeJson } from "./shared.js";
import { tell } from "./tell.js";
import { begin, pause, type Span, within } from "./time.js";
import { turns } from "./turn.js";
import { type Mintgate, MintgateError, type Options, type Session, type SignOutOptions, type User } from "./types.js";

const CANNOT_REFRESH = "The access token cannot be refreshed now.";
const LOADING: Session = { status: "unknown", reason: "LOADING" };
/** How long `user`, `ready` and `fetch` wait for the first answer, in milliseconds. */
const FIRST_ANSWER_MS = 3000;
const LONGEST_RETRY_MS = 30_000;
const DUPLICATE_COOKIE_TRIES = 6;
/** How long after a sign-out a page starts no sign-in by itself, and the longest `Retry-After` that is kept, in milliseconds. */
const STOP_MS = 600_000;

const clients = Symbol.for("@mintgate/client");

/**
 * Makes the client. It does nothing until one of its methods is called, and nothing at all outside a browser. With the
 * same options, a page gets the same client again.
 */
export function createMintgate(options: Options): Mintgate {
  if (typeof document === "undefined") return create(options);
  const known: Map<string, Mintgate> = ((globalThis as any)[clients] ??= new Map());
  const key = JSON.stringify(options);
  if (!known.has(key)) known.set(key, create(options));
  return known.get(key)!;
}

function create(options: Options): Mintgate {
  const inBrowser = typeof document !== "undefined";
  const base = options.url.replace(/\/+$/, "") + "/api/v1/auth";
  const call = caller(base);
  const host = inBrowser ? new URL(base, location.href).hostname : "";
  const key = `mintgate:${base}`;
  const kept = inBrowser ? storage("localStorage") : undefined;
  const login = logins(base, call, options);
  const listeners = new Set<(session: Session, before: Session) => void>();
  const watchers = new Set<() => void>();
  const takeTurn = turns(key, watcher => {
    watchers.add(watcher);
    return () => watchers.delete(watcher);
  });

  let session = LOADING;
  let shared: Shared = { id: "" };
  let token: Span | undefined;
  let checkedAt = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let loaded: Promise<unknown> | undefined;
  let finished: Promise<string | undefined> | undefined;
  let refreshing: Promise<void> | undefined;
  let leaving: Promise<void> | undefined;
  let hintAtEnd = false;

  // What is known, here and in the other tabs

  function show(next: Session) {
    const before = session;
    const essence = ({ status, user, reason }: Session) => JSON.stringify([status, user, reason === "LOADING"]);
    const changed = essence(before) !== essence(next);
    if (changed || before.reason !== next.reason) session = next;
    for (const listener of changed ? [...listeners] : []) {
      try {
        listener(next, before);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }
  }

  const span = ({ at, ttl }: Shared) =>
    at === undefined || ttl === undefined ? undefined : begin(ttl * 1000, Math.max(0, Date.now() - at));

  /** Takes over what a tab has found out. */
  function apply(news: Shared) {
    shared = news;
    token = span(news);
    plan();
    const { user, ended, failed, code } = news;
    if (user || ended === "SIGNED_OUT" || ended === "ACCESS_DENIED") login.stop(ended);
    for (const watcher of [...watchers]) watcher();
    if (ended) {
      hintAtEnd = hint();
      show({ status: "signed_out", reason: ended });
    } else if (failed) show({ status: "unknown", reason: code!, ...(user && { user }) });
    else if (user) show({ status: "signed_in", user });
  }

  function publish(news: Omit<Shared, "id">) {
    const next = { ...news, id: Math.random().toString(36).slice(2), ...((shared.hint || hint()) && { hint: true }) };
    writeJson(kept, key, next);
    apply(next);
  }

  /** Looks for news of other tabs that have not been announced yet. */
  function look() {
    const news = readJson<Shared>(kept, key);
    if (news && news.id !== shared.id) apply(news);
  }

  /** How long until a planned attempt; a plan that is far away was made when the clock was another one. */
  const until = (at = 0) => {
    const ms = at - Date.now();
    return ms > STOP_MS ? 0 : ms;
  };

  /**
   * The part of a token's life that is left unused, so that a request does not arrive with an expired one. A second at
   * least, as times in tokens are whole seconds.
   */
  const margin = () => Math.min(30_000, token!.ms / 2, Math.max(1000, token!.ms / 20));
  const due = () => !!token && !shared.ended && token.left() <= margin();
  const over = () => due() && token!.left() <= 0;

  // What is asked of Mintgate

  function end(code: string) {
    clearHint();
    publish({ ended: code, at: Date.now() });
  }

  /** Keeps what is known, and plans the next attempt. */
  function fail({ code, message, retryAfter }: Answer) {
    if (code === "CSRF_REJECTED") console.error(`mintgate: ${message} The origin of this page is ${location.origin}.`);
    // An attempt before its time, such as that of a page that has just been loaded, does not make the next one rarer.
    const failed = shared.failed && until(shared.next) > 100 ? shared.failed : (shared.failed ?? 0) + 1;
    const hold = retryAfter || 1000;
    const next = Math.max(hold, Math.min(LONGEST_RETRY_MS, 500 * 2 ** failed)) + Math.random() * 500;
    publish({ ...shared, failed, code, hold: Date.now() + hold, next: Date.now() + next });
  }

  /** Takes over the answer of `/me`, and the life of the token that was fetched just before. */
  function learn(body: any, fresh?: Pick<Shared, "at" | "ttl" | "after401">) {
    const { exp: _, expiresIn, ...user } = body;
    checkedAt = performance.now();
    const { at, ttl, after401 = false } = shared;
    if (!fresh && !shared.failed && !shared.ended && JSON.stringify(user) === JSON.stringify(shared.user)) {
      // Nothing is new for the other tabs.
      if (expiresIn !== undefined) token = begin(expiresIn * 1000);
      plan();
      show({ status: "signed_in", user });
    } else {
      const life = at && expiresIn === undefined && shared.user?.sid === user.sid ? { at, ttl } : { at: Date.now(), ttl: expiresIn };
      publish({ after401, ...(fresh ?? life), user });
    }
  }

  /** Asks who is signed in. */
  async function check(refreshNow = refresh): Promise<void> {
    const { id } = shared;
    const answer = await call("GET", "/me");
    look();
    if (shared.id !== id) return;
    if (answer.ok) learn(answer.body);
    else if (answer.code === "INVALID_ACCESS_TOKEN") await refreshNow();
    else if (answer.ended) end(answer.code);
    else fail(answer);
  }

  /** Fetches another token, and asks whose it is. */
  async function exchange(after401 = false): Promise<void> {
    const { id } = shared;
    // The token is made after this moment, so its life is never taken for longer than it is.
    const at = Date.now();
    let answer: Answer;
    let tries = 0;
    do answer = await call("POST", "/refresh");
    while (answer.code === "DUPLICATE_COOKIE" && ++tries < DUPLICATE_COOKIE_TRIES);
    const fresh = answer.ok ? { at, ttl: answer.body.expiresIn, after401 } : undefined;
    if (fresh) answer = await call("GET", "/me");
    look();
    if (shared.id !== id && shared.ended === "SIGNED_OUT") {
      // The answer has set cookies anew, of a session that somebody has ended meanwhile.
      if (fresh) await call("POST", "/refresh/logout");
    } else if (answer.ok) learn(answer.body, fresh);
    else if (!fresh && shared.id !== id) return;
    else if (answer.ended) end(answer.code);
    else {
      shared = { ...shared, ...fresh };
      fail(answer);
    }
  }

  /** One refresh in this tab at a time and, if possible, in this browser. */
  function refresh(after401 = false): Promise<void> {
    look();
    const { id, at } = shared;
    const settled = () => (look(), shared.id !== id && (!!shared.ended || !!shared.failed || shared.at !== at));
    return (refreshing ??= takeTurn(settled, () => exchange(after401)).finally(() => (refreshing = undefined)));
  }

  /** Refreshes a token that is due. A lost answer is asked for once more. Rejects if the token is over then. */
  async function freshen(): Promise<void> {
    for (let attempt = 0; due() && attempt < 2; attempt++) {
      const wait = shared.failed ? until(shared.hold) : 0;
      if (wait > 1000) break;
      if (wait > 0) await pause(wait);
      if (due()) await refresh();
    }
    if (over()) throw new MintgateError(shared.code ?? "UNREACHABLE", CANNOT_REFRESH);
  }

  /** Tries again what failed: in one tab, for all. */
  function retry(): Promise<void> {
    if (!shared.logout && due()) return refresh();
    const { id } = shared;
    return takeTurn(
      () => (look(), shared.id !== id),
      async () => (shared.logout ? told(await logout({ ...shared.logout, provider: false })) : check(exchange)),
    );
  }

  /** Plans what nobody asks for. */
  function plan() {
    clearTimeout(timer);
    const again = shared.failed || shared.logout;
    if (!again && (!token || shared.ended || document.visibilityState === "hidden")) return;
    const wait = again ? until(shared.next) : token!.left() - margin();
    timer = setTimeout(() => (again ? retry() : freshen()).catch(() => {}), Math.min(Math.max(wait, 100), 2 ** 31 - 1));
  }

  /** The page is looked at again, or the network is back. */
  function wake({ type }: Event) {
    look();
    plan();
    const online = type === "online";
    if (document.visibilityState === "hidden" && !online) return;
    if (shared.failed || shared.logout) void ((online || until(shared.hold) <= 0) && !leaving && retry());
    else if (session.status === "signed_out") void (hint() && !hintAtEnd && check());
    else if (due()) freshen().catch(() => {});
    else if (session.user && performance.now() - checkedAt > 1000) {
      checkedAt = performance.now();
      void check();
    }
  }

  // The start

  function start() {
    if (!inBrowser || loaded) return;
    addEventListener("storage", event => event.key === key && look());
    for (const type of ["online", "focus", "pageshow"]) addEventListener(type, wake);
    for (const type of ["visibilitychange", "resume"]) document.addEventListener(type, wake);
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, login.onInput, true);
    tell(base, host, !!kept);
    loaded = load();
  }

  /** Finds out who is signed in, with as few requests as the signs allow. */
  async function load(): Promise<void> {
    shared = readJson<Shared>(kept, key) ?? shared;
    const outcome = login.redeem();
    finished = outcome.then(moved => (moved ? undefined : takeResult()));
    const result = await finished;
    // The page is on its way to another address.
    if (await outcome) return;
    const { ended, at = 0, user, logout, sid } = shared;
    // The mark alone proves nothing: a sign-out that is not told yet is forgotten for another session only.
    const back = result === "signed_in" && (!logout || (await call("GET", "/me")).body.sid !== sid);
    if (result && !back) login.stop(result);
    else if (!back && ended && Date.now() - at < STOP_MS) login.stop(ended);
    if (back) shared = { id: shared.id };
    else if (logout) {
      apply(shared);
      return retry();
    } else if (!hint() && !user && (options.hint ?? (location.hostname === host || shared.hint))) {
      return show({ status: "signed_out", reason: result ?? ended ?? "SIGNED_OUT" });
    }
    token = span(shared);
    await (due() ? refresh() : check());
    if (!result || session.status !== "signed_out") return;
    session = { status: "signed_out", reason: back ? "COOKIES_NOT_SENT" : result };
    if (back) {
      console.error("mintgate: signed in, but no cookies come. The browser blocks them, or the page is on another site (crossSite).");
    }
  }

  // What the page calls

  async function settled(): Promise<void> {
    start();
    look();
    if (session.reason === "LOADING") await within(FIRST_ANSWER_MS, loaded!);
  }

  async function ready(): Promise<Session> {
    if (!inBrowser) return session;
    await settled();
    await freshen().catch(() => {});
    return session;
  }

  async function user({ fresh = false } = {}): Promise<User | null | undefined> {
    if (!inBrowser) return undefined;
    await settled();
    if (fresh) await (session.status === "signed_out" ? check() : refresh());
    return session.user ?? (session.status === "signed_out" ? null : undefined);
  }

  async function ask(method: string, path: string): Promise<any> {
    const response = await client.fetch(base + path, { method });
    const body = response.status === 204 ? {} : await response.json();
    if (!response.ok) throw new MintgateError(body.errorCode, body.message);
    return body;
  }

  function signOut(options: SignOutOptions = {}): Promise<void> {
    if (!inBrowser) return Promise.resolve();
    start();
    return (leaving ??= leave(options).finally(() => (leaving = undefined)));
  }

  async function leave(options: SignOutOptions): Promise<void> {
    // The request is on its way before anything else happens: the page may be closed in the same moment.
    const sent = logout(options);
    publish({ ended: "SIGNED_OUT", at: Date.now(), sid: shared.user?.sid, logout: options, next: Date.now() + LONGEST_RETRY_MS });
    told(await sent);
    await refreshing;
  }

  /** Takes over the answer to a sign-out; without one, the sign-out is sent again later. */
  function told({ lost, retryAfter, ok, message, body }: Answer) {
    look();
    const { logout: asked, ...rest } = shared;
    if (!asked) return;
    if (!lost) clearHint();
    if (!lost && !ok) console.error(`mintgate: ${message}`);
    publish(lost ? { ...shared, next: Date.now() + Math.max(retryAfter, 5000) } : rest);
    if (body.logoutUrl) location.assign(body.logoutUrl);
  }

  async function logout({ everywhere, provider }: SignOutOptions): Promise<Answer> {
    const withToken = async (method: string, path: string) => {
      const answer = await call(method, path);
      return answer.code === "INVALID_ACCESS_TOKEN" && (await call("POST", "/refresh")).ok ? call(method, path) : answer;
    };
    if (everywhere && !provider) return withToken("POST", "/logout-all");
    if (everywhere) {
      const { body } = await withToken("GET", "/sessions");
      for (const { sid, current } of body.sessions ?? []) if (!current) await call("DELETE", `/sessions/${sid}`);
    }
    const postLogoutRedirectUri = typeof provider === "string" ? provider : undefined;
    const answer = await call("POST", "/refresh/logout", provider && { provider: true, postLogoutRedirectUri });
    // An address that is not allowed must not keep the session alive.
    return answer.code === "REDIRECT_URI_NOT_ALLOWED" ? call("POST", "/refresh/logout") : answer;
  }

  const client: Mintgate = {
    get session() {
      return session;
    },
    signIn: (provider, more = {}) => (start(), login.signIn(provider, more, session.reason)),
    finish: async () => (start(), finished),
    fetch: ownFetch(options, {
      inBrowser,
      settle: async () => {
        start();
        look();
        if (!token || due()) await settled();
        await freshen();
      },
      refresh: async () => {
        await refresh(true);
        if (session.status === "unknown") throw new MintgateError(session.reason!, CANNOT_REFRESH);
      },
      now: () => (look(), { session, at: shared.at, renewed: !!shared.after401 && !!token && token.left() > token.ms / 2 }),
    }),
    ready,
    user,
    onChange: listener => {
      start();
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    signOut,
    sessions: async () => (await ask("GET", "/sessions")).sessions,
    endSession: async sid => void (await ask("DELETE", `/sessions/${encodeURIComponent(sid)}`)),
    providers: async () => {
      const answer = await call("GET", "/providers");
      if (!answer.ok) throw new MintgateError(answer.code, answer.message);
      return answer.body.providers;
    },
  };
  return client;
}

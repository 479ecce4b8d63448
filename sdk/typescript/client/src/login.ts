import type { Call } from "./http.js";
import { readJson, storage, writeJson } from "./shared.js";
import { pause } from "./time.js";
import { MintgateError, type Options, type SignInOptions } from "./types.js";

/** The mark in the address of a page that the browser comes back to. */
const RESULT = /([?&])mintgate_result=([\w-]*)(&|$)/;
const PARTS = /^([^#]*)(.*)$/s;
/** The errors of OAuth 2.0 and OpenID Connect that say that the person did not go on. */
const CANCELLED = /^access_denied$|_required$/;
const ROUNDS = "mintgate:rounds";
const ROUND_MS = 30_000;
const MOST_ROUNDS = 2;

/** The address without the mark; everything else stays as it is, byte for byte. */
export function withoutResult(address: string): string {
  const [, page, fragment] = PARTS.exec(address)!;
  return page!.replace(RESULT, (_, before: string, __, after: string) => (after ? before : "")) + fragment;
}

/** The address with a mark, in its query and before its fragment. */
export function withResult(address: string, result: string): string {
  const [, page, fragment] = PARTS.exec(withoutResult(address))!;
  return `${page}${page!.includes("?") ? "&" : "?"}mintgate_result=${result}${fragment}`;
}

/** Takes the mark out of the address bar, and returns how a sign-in has ended. */
export function takeResult(): string | undefined {
  const found = RESULT.exec(location.search)?.[2];
  if (found) history.replaceState(history.state, "", withoutResult(location.href));
  // `signed_out` and `unavailable` are of no sign-in, but of a refresh on the way to a server-rendered page.
  return found && /^(signed_in|[A-Z_]+)$/.test(found) ? found : undefined;
}

/** The two ways to begin a login: by a link at Mintgate or, for pages of another site, by the page itself. */
export function logins(base: string, call: Call, options: Options) {
  const inTab = storage("sessionStorage");
  let lastInput = 0;
  let inputs = 0;
  let stopped: { reason: string; inputs: number } | undefined;

  function onInput(event: Event) {
    if (event.isTrusted) inputs++, (lastInput = performance.now());
  }

  /** Whether the page starts this by itself, and not because a person did something. */
  function byItself(): boolean {
    // The click that signed the person out still counts as activity for a few seconds.
    const sameClick = stopped && inputs > 0 && stopped.inputs === inputs && performance.now() - lastInput < 6000;
    return !!sameClick || navigator.userActivation?.isActive === false;
  }

  function guard(reason: string | undefined) {
    if (!byItself()) return;
    const stop = (cause: string) => new MintgateError("SIGN_IN_LOOP", `No further sign-in starts without a click: ${cause}`);
    if (stopped) throw stop(`the last one ended with ${stopped.reason}.`);
    const now = Date.now();
    const rounds = (readJson<number[]>(inTab, ROUNDS) ?? []).filter(at => Math.abs(now - at) < ROUND_MS);
    if (rounds.length >= MOST_ROUNDS) {
      throw stop(
        `${rounds.length} within 30 seconds brought no session (${reason}). Are cookies blocked, or is this another site (crossSite)?`,
      );
    }
    writeJson(inTab, ROUNDS, [...rounds, now]);
  }

  async function signIn(provider: string, more: SignInOptions, reason: string | undefined): Promise<void> {
    guard(reason);
    const returnTo = withoutResult(new URL(more.returnTo ?? location.href, location.href).href);
    const { prompt, loginHint } = more;
    if (!options.crossSite) {
      const query = Object.entries({ returnTo, prompt, loginHint }).flatMap(([name, value]) =>
        value ? `${name}=${encodeURIComponent(value)}` : [],
      );
      location.assign(`${base}/start/${encodeURIComponent(provider)}?${query.join("&")}`);
      return;
    }
    if (new URL(returnTo).origin !== location.origin) {
      throw new MintgateError("RETURN_TO_NOT_ALLOWED", "returnTo has another origin.");
    }
    const redirectUri = options.redirectUri ?? location.origin + "/callback";
    const begun = await call("POST", "/login", { provider, redirectUri, prompt, loginHint });
    if (!begun.ok) throw new MintgateError(begun.code, begun.message);
    writeJson(inTab, `mintgate:${begun.body.state}`, { returnTo });
    location.assign(begun.body.authorizationUrl);
  }

  /** Posts the code of a login that this tab has begun, and moves on to `returnTo`. Whether there was one. */
  async function redeem(): Promise<boolean> {
    const query = new URLSearchParams(location.search);
    const state = query.get("state");
    const key = `mintgate:${state}`;
    const begun = state && options.crossSite && readJson<{ returnTo: string; done?: boolean }>(inTab, key);
    if (!begun) return false;
    let result: string | undefined;
    const error = query.get("error");
    if (error) result = CANCELLED.test(error) ? "LOGIN_CANCELLED" : "PROVIDER_ERROR";
    else if (!begun.done) {
      writeJson(inTab, key, { ...begun, done: true });
      const body = { authCode: query.get("code"), state, iss: query.get("iss") ?? undefined };
      // With the key, the same request may be sent again after a lost answer.
      const headers = { "Idempotency-Key": `login-${state.slice(-200)}` };
      for (let attempt = 0; !result; attempt++) {
        const answer = await call("POST", "/token", body, headers);
        if (answer.ok) result = "signed_in";
        else if (attempt < 2 && /UNREACHABLE|UNAVAILABLE|OVERLOADED/.test(answer.code)) await pause(answer.retryAfter || 1000);
        else result = answer.code;
      }
    }
    location.replace(result ? withResult(begun.returnTo, result) : begun.returnTo);
    return true;
  }

  return {
    onInput,
    signIn,
    redeem,
    /** No sign-in starts by itself from now on; without a reason, it may again. */
    stop: (reason: string | undefined) => void (stopped = reason ? { reason, inputs } : undefined),
  };
}

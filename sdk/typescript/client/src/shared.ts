import type { SignOutOptions, User } from "./types.js";

/** What the tabs of an origin know together; kept in `localStorage`, where the other tabs notice a change. */
export interface Shared {
  /** Another one with each change. */
  id: string;
  /** When the access token was asked for or the session ended, by the clock of this machine, in milliseconds. */
  at?: number;
  /** How long the token was good then, in seconds. */
  ttl?: number | undefined;
  /** The token was fetched because of a 401. */
  after401?: boolean;
  /** The person who is signed in. */
  user?: User | undefined;
  /** Nobody is signed in any more: why. */
  ended?: string;
  /** A sign-out that Mintgate does not know of yet, and of which session. */
  logout?: SignOutOptions | undefined;
  sid?: string | undefined;
  /** The cookie `Auth-Session` can be read here. */
  hint?: boolean;
  /** Attempts that failed in a row, the last one's code, and when the next attempts by a person and by a timer are due. */
  failed?: number;
  code?: string;
  hold?: number;
  next?: number;
}

/** A storage that forgets everything if the browser has none or denies it. */
export function storage(kind: "localStorage" | "sessionStorage"): Pick<Storage, "getItem" | "setItem"> | undefined {
  try {
    const found = globalThis[kind];
    found.getItem("");
    return found;
  } catch {
    return undefined;
  }
}

export function readJson<T>(from: Pick<Storage, "getItem"> | undefined, key: string): T | undefined {
  try {
    return JSON.parse(from?.getItem(key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

export function writeJson(to: Pick<Storage, "setItem"> | undefined, key: string, value: unknown): void {
  try {
    to?.setItem(key, JSON.stringify(value));
  } catch {
    // A full storage costs a request, nothing else.
  }
}

const HINT = /(?:^|;\s*)((?:__Host-|__Secure-)?Auth-Session)=1/;

/** Whether the browser shows the cookie that says that there is a session. */
export const hint = (): boolean => HINT.test(document.cookie);

/** Removes that cookie, when the session that it speaks of is over. It does not say which domain it has. */
export function clearHint(): void {
  const name = HINT.exec(document.cookie)?.[1];
  const labels = location.hostname.split(".");
  for (let from = 0; name && from <= labels.length; from++) {
    const domain = from ? `; Domain=${labels.slice(from - 1).join(".")}` : "";
    document.cookie = `${name}=; Path=/; Max-Age=0${location.protocol === "https:" ? "; Secure" : ""}${domain}`;
  }
}

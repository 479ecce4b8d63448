import type { components } from "./api.js";

type Schemas = components["schemas"];

/** The person who is signed in, as `GET /api/v1/auth/me` describes them. For display; a server decides by the token. */
export type User = Omit<Schemas["MeBody"], "exp" | "expiresIn">;
/** A live session of the person, as `GET /api/v1/auth/sessions` lists it. */
export type SessionInfo = Schemas["SessionBody"];
/** A provider that people can sign in with, as `GET /api/v1/auth/providers` lists it. */
export type Provider = Schemas["ProviderBody"];

/** Whether somebody is signed in, as far as this page knows. */
export interface Session {
  /**
   * `signed_in`; `signed_out`; or `unknown`: the page cannot tell now, because it is loading, is offline, or Mintgate does
   * not answer. Do not treat `unknown` as signed out.
   */
  readonly status: "signed_in" | "signed_out" | "unknown";
  /** The person. With `unknown`, the person who was last known to be signed in, if there is one. */
  readonly user?: User;
  /**
   * Why nobody is signed in, or why this is unknown: an `errorCode` of Mintgate, or one of `LOADING` (the first answer is
   * not there yet), `SIGNED_OUT` (by this browser), `UNREACHABLE` (no usable answer came), `COOKIES_NOT_SENT` (the sign-in
   * succeeded, but the browser does not send its cookies).
   */
  readonly reason?: string;
}

/** How a page reaches Mintgate. */
export interface Options {
  /** The address of Mintgate: its `server.public_url`. */
  url: string;
  /**
   * The origins of your own APIs that accept Mintgate's cookies, other than that of the page and of Mintgate:
   * `https://api.example.com`. Only requests to these origins carry cookies, and only their 401 can cause a refresh.
   */
  origins?: readonly string[];
  /**
   * Whether the page and Mintgate are on different sites, as `app.example` and `auth.other.example` are. The page then
   * begins and finishes a login itself, because a browser keeps the cookies of two sites apart.
   */
  crossSite?: boolean;
  /** With `crossSite`: where the provider sends the browser back to. By default `/callback` of the page's origin. */
  redirectUri?: string;
  /**
   * Whether the page can read the cookie `Auth-Session` (`cookies.hint`) when somebody is signed in. By default, this is
   * assumed of pages on Mintgate's own host, and of pages that have read it before. If it can and there is none, nobody
   * is signed in, and the client asks nothing.
   */
  hint?: boolean;
}

/** What a sign-in may say beside the provider. */
export interface SignInOptions {
  /** The address of the page to return to. By default the present one. */
  returnTo?: string;
  /** Passed to the provider if its `login_params` allow it: `select_account` lets the person choose another account. */
  prompt?: string;
  /** Who is probably signing in; passed to the provider if its `login_params` allow it. */
  loginHint?: string;
}

/** What a sign-out ends beside this session. */
export interface SignOutOptions {
  /** Also end all other sessions of the person. */
  everywhere?: boolean;
  /** Also sign out at the provider. A text is the address to come back to: one of its `post_logout_redirect_uris`. */
  provider?: boolean | string;
}

/** The browser's side of a Mintgate session. */
export interface Mintgate {
  /** What is known at this moment. The object stays the same until something changes. */
  readonly session: Session;
  /**
   * Sends the browser to the provider. Rejects with `SIGN_IN_LOOP` if nobody has asked for it: when a page starts a
   * third sign-in by itself within 30 seconds, or one after a sign-out or a refused sign-in.
   */
  signIn(provider: string, options?: SignInOptions): Promise<void>;
  /**
   * Ends a sign-in on the page that the browser came back to, and removes its marks from the address. Resolves with
   * `signed_in`, an `errorCode` such as `LOGIN_CANCELLED`, or `undefined` if the browser did not come from a sign-in. The
   * client also does this when it starts; call it if you want to show the outcome.
   */
  finish(): Promise<string | undefined>;
  /**
   * `fetch` with the cookies of the session for your own origins. If the access token is over, it is refreshed before
   * the request is sent. If a response is 401, the request is repeated once with a fresh token, unless its body is a stream.
   * Rejects with a {@link MintgateError} if the token cannot be refreshed now, or if another person has signed in meanwhile.
   */
  fetch: typeof globalThis.fetch;
  /**
   * Resolves when the session is known and its access token is good. For requests that `fetch` does not make: images,
   * downloads, `EventSource`, forms. Never rejects.
   */
  ready(): Promise<Session>;
  /**
   * The person who is signed in, `null` if nobody is, or `undefined` if this is unknown and nobody was known before.
   * With `fresh`, asks Mintgate for new roles and a new profile, for all tabs.
   */
  user(options?: { fresh?: boolean }): Promise<User | null | undefined>;
  /**
   * Calls `listener` after each change of the session, in this or another tab, with the session before the change.
   * Returns a function that ends this.
   */
  onChange(listener: (session: Session, before: Session) => void): () => void;
  /**
   * Signs out on the screen of every tab at once, and at Mintgate as soon as it can be reached. Never rejects.
   */
  signOut(options?: SignOutOptions): Promise<void>;
  /** The live sessions of the person. Rejects with a {@link MintgateError}. */
  sessions(): Promise<SessionInfo[]>;
  /** Ends another session of the person. Rejects with a {@link MintgateError}. */
  endSession(sid: string): Promise<void>;
  /** The providers to offer on a sign-in page. Rejects with a {@link MintgateError}. */
  providers(): Promise<Provider[]>;
}

/** A refusal of Mintgate or of this client. */
export class MintgateError extends Error {
  /** The `errorCode` of Mintgate's response, or `UNREACHABLE`, `PERSON_CHANGED`, `SIGN_IN_LOOP`. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "MintgateError";
    this.code = code;
  }
}

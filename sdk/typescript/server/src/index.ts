import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from "jose";
import { type AnyRequest, cookies, header, isNavigation, target } from "./request.js";

export type { AnyRequest } from "./request.js";

/** What a server needs to know of Mintgate and of the app. */
export interface ServerOptions {
  /** The address of Mintgate: its `server.public_url`. */
  url: string;
  /** The origin of the app as browsers see it: `https://app.example.com`. It must be one of `pages.return_origins`. */
  origin: string;
  /** The audience of access tokens: one of `tokens.audience`. */
  audience: string | string[];
  /** The issuer of access tokens: `tokens.issuer`. By default `url`. */
  issuer?: string;
  /** The name of the access cookie: `cookies.access_name`. */
  accessCookie?: string;
  /** The type of access tokens: `tokens.typ`. */
  typ?: "at+jwt" | "JWT";
  /** Where this server reaches Mintgate, if not at `url`. */
  internalUrl?: string;
}

/** The person whom an access token is about. */
export interface User {
  sub: string;
  sid: string;
  roles: string[];
  provider: string;
  name?: string;
  preferredUsername?: string;
  email?: string;
  picture?: string;
}

/** Who has sent a request. Can be handed to `<MintgateProvider session={…}>`, without `claims`. */
export interface ServerSession {
  /**
   * `signed_in`; `signed_out`; or `unknown`: the access token is over, or the keys to verify it cannot be fetched. Do not
   * show a sign-in page then.
   */
  status: "signed_in" | "signed_out" | "unknown";
  user?: User;
  /** All claims of the access token. */
  claims?: JWTPayload;
  /** With `unknown`: send the browser here with 303, and it comes back to the same address with a fresh token. */
  redirect?: string;
  /** With `unknown`: `REFRESH_DUE`, `KEYS_UNAVAILABLE`, or `REFRESH_DID_NOT_HELP`: is the clock of this server right? */
  reason?: string;
}

/** Tells a server who has sent a request. */
export interface MintgateServer {
  /** Verifies the access cookie offline. Never rejects because of a request. */
  getSession(request: AnyRequest): Promise<ServerSession>;
  /**
   * Express middleware: `res.locals.session` is the session. Navigations with a token that is over go round by Mintgate
   * and come back. Responses get `Cache-Control: private, no-store`.
   */
  express(): (request: any, response: any, next: (error?: unknown) => void) => void;
  /**
   * Passes a request below `/api/v1/auth` on to Mintgate, for apps that serve it from their own origin. Every
   * `Set-Cookie` stays a header of its own, and no cache may keep the response.
   */
  forward(request: Request): Promise<Response>;
}

const PRIVATE = "private, no-store";
const HINT = /^(__Host-|__Secure-)?Auth-Session$/;
const RESULT = /[?&]mintgate_result=([\w-]*)/;
const ALGORITHMS = ["ES256", "ES384", "EdDSA", "RS256", "PS256"];
/** How far the clocks of this server and of Mintgate may differ, in seconds. */
const LEEWAY_SECS = 5;
/** How long an answer of the JWKS counts, in milliseconds: what Mintgate says of it. */
const JWKS_MAX_AGE_MS = 300_000;
/** Headers of one connection, not of the message (RFC 9110 §7.6.1), and those that are made anew. */
const HOP = ["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host", "content-length", "accept-encoding", "content-encoding"];

/** Makes the helper. Keys are fetched when the first token is verified. */
export function createMintgateServer(options: ServerOptions): MintgateServer {
  const url = options.url.replace(/\/+$/, "");
  const inside = (options.internalUrl ?? url).replace(/\/+$/, "");
  const keys = createRemoteJWKSet(new URL(inside + "/.well-known/jwks.json"), { cacheMaxAge: JWKS_MAX_AGE_MS, timeoutDuration: 3000 });
  const name = options.accessCookie ?? "Auth-Access-Token";
  const access = new RegExp(`^${name.replace(/[^\w-]/g, "\\$&")}$`);

  /** The claims of a good token; otherwise what is wrong. */
  async function verify(token: string): Promise<JWTPayload | "over" | "keys" | "bad"> {
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: options.issuer ?? url, audience: options.audience, typ: options.typ ?? "at+jwt", algorithms: ALGORITHMS,
        clockTolerance: LEEWAY_SECS, requiredClaims: ["sub", "sid", "exp"],
      });
      return payload;
    } catch (error) {
      if (error instanceof errors.JWTExpired || (error instanceof errors.JWTClaimValidationFailed && /^(nbf|iat)$/.test(error.claim))) return "over";
      const wrong = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout) && error.code !== "ERR_JOSE_GENERIC";
      return wrong ? "bad" : "keys";
    }
  }

  async function getSession(request: AnyRequest): Promise<ServerSession> {
    const tokens = cookies(request, access);
    const found = tokens.length === 1 ? await verify(tokens[0]!) : undefined;
    if (typeof found === "object") return { status: "signed_in", user: user(found), claims: found };
    if (found === "keys") return { status: "unknown", reason: "KEYS_UNAVAILABLE" };
    const here = target(request);
    const result = RESULT.exec(here)?.[1];
    const session = found === "over" || cookies(request, HINT).includes("1");
    if (!session || result === "signed_out") return { status: "signed_out" };
    if (result) return { status: "unknown", reason: result === "signed_in" ? "REFRESH_DID_NOT_HELP" : "UNREACHABLE" };
    const redirect = `${url}/api/v1/auth/refresh/return?to=${encodeURIComponent(new URL(options.origin).origin + here)}`;
    return { status: "unknown", reason: "REFRESH_DUE", ...(isNavigation(request) && { redirect }) };
  }

  return {
    getSession,
    express: () => (request, response, next) => {
      getSession(request).then(session => {
        response.setHeader("Cache-Control", PRIVATE);
        response.locals = { ...response.locals, session };
        if (!session.redirect) return next();
        response.statusCode = 303;
        response.setHeader("Location", session.redirect);
        response.end();
      }).catch(next);
    },
    async forward(request) {
      const headers = new Headers(request.headers);
      for (const hop of HOP) headers.delete(hop);
      const body = request.body ? { body: await request.arrayBuffer() } : {};
      const answer = await fetch(inside + target(request), { method: request.method, headers, redirect: "manual", ...body });
      const out = new Headers();
      answer.headers.forEach((value, key) => {
        if (key !== "set-cookie" && !HOP.includes(key)) out.set(key, value);
      });
      for (const cookie of answer.headers.getSetCookie()) out.append("Set-Cookie", cookie);
      if (answer.headers.getSetCookie().length || header(request, "cookie")) out.set("Cache-Control", PRIVATE);
      return new Response(answer.body, { status: answer.status, headers: out });
    },
  };
}

function user(claims: JWTPayload): User {
  const { sub, sid, roles, idp } = claims as JWTPayload & { sid: string; roles?: string[]; idp?: string };
  const text = (name: string) => (typeof claims[name] === "string" ? (claims[name] as string) : undefined);
  const profile = { name: text("name"), preferredUsername: text("preferred_username"), email: text("email"), picture: text("picture") };
  const known = Object.fromEntries(Object.entries(profile).filter(([, value]) => value !== undefined));
  return { sub: sub!, sid, roles: roles ?? [], provider: idp ?? "", ...known };
}

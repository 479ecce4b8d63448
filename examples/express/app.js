// A server-rendered app: who is signed in is known from Mintgate's cookies, which the app verifies by itself.
import { createMintgateServer } from "@mintgate/server";
import express from "express";

const mintgate = process.env.MINTGATE_URL ?? "http://localhost:8080";
const origin = process.env.APP_ORIGIN ?? "http://localhost:3000";
const provider = process.env.MINTGATE_PROVIDER ?? "mock";
const auth = createMintgateServer({ url: mintgate, origin, audience: process.env.MINTGATE_AUDIENCE ?? mintgate });

const escaped = text => String(text).replace(/[&<>"']/g, found => `&#${found.charCodeAt(0)};`);
const page = body => `<!doctype html><meta charset="utf-8"><title>An app</title>${body}`;
const signIn = path => `${mintgate}/api/v1/auth/start/${provider}?returnTo=${encodeURIComponent(origin + path)}`;
const signOut = '<form method="post" action="/sign-out"><button>Sign out</button></form>';

const app = express();
app.disable("x-powered-by");
// Navigations whose token is over go round by Mintgate and come back with a fresh one.
app.use(auth.express());

// Lets those pass who are signed in.
function signedIn(request, response, next) {
  const { status } = response.locals.session;
  if (status === "signed_in") return next();
  if (status === "unknown") return cannotTell(response);
  const why = { LOGIN_CANCELLED: "You have cancelled.", ACCESS_DENIED: "This account has no access." }[request.query.mintgate_result];
  const path = request.originalUrl.replace(/([?&])mintgate_result=[^&]*&?/, "$1").replace(/[?&]$/, "");
  return response.status(401).send(page(`<p>${why ?? "You are signed out."}</p><a href="${escaped(signIn(path))}">Sign in</a>`));
}

// Nobody is signed out because a service hiccups.
function cannotTell(response) {
  response.status(503).set("Retry-After", "5").send(page("<p>We cannot tell who you are at the moment. Please try again.</p>"));
}

app.get("/", (request, response) => {
  const { user } = response.locals.session;
  response.send(page(user ? `<p>Hello ${escaped(user.name ?? user.sub)}</p>${signOut}` : `<a href="${escaped(signIn("/"))}">Sign in</a>`));
});

app.get("/orders", signedIn, (request, response) => {
  const { user } = response.locals.session;
  response.send(page(`<h1>Orders of ${escaped(user.name ?? user.sub)}</h1>${signOut}`));
});

// Somebody whose token was over comes back here with a fresh one, and presses the button again.
app.get("/sign-out", signedIn, (request, response) => response.send(page(signOut)));

app.post("/sign-out", async (request, response) => {
  if (request.headers.origin && request.headers.origin !== origin) return response.status(403).end();
  if (response.locals.session.status === "unknown") {
    return response.redirect(303, `${mintgate}/api/v1/auth/refresh/return?to=${encodeURIComponent(origin + "/sign-out")}`);
  }
  const headers = { cookie: request.headers.cookie ?? "" };
  const answer = await fetch(`${mintgate}/api/v1/auth/logout`, { method: "POST", headers, signal: AbortSignal.timeout(5000) }).catch(() => undefined);
  if (!answer?.ok && answer?.status !== 401) return cannotTell(response);
  for (const cookie of answer.headers.getSetCookie()) response.append("Set-Cookie", cookie);
  return response.redirect(303, "/");
});

app.listen(Number(new URL(origin).port), "localhost", () => console.log(`The app is at ${origin}`));

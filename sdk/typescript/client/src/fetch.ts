import { MintgateError, type Options, type Session } from "./types.js";

/** What `fetch` needs of the session. */
export interface Access {
  inBrowser: boolean;
  /** Waits until the token is good; rejects if it cannot be made good now. */
  settle(): Promise<void>;
  /** Fetches another token; rejects if this is impossible now. */
  refresh(): Promise<void>;
  /** The session, which token it has, and whether that is a young one that was fetched because of a 401. */
  now(): { session: Session; at: number | undefined; renewed: boolean };
}

/** How many routes are remembered whose 401 is not about the session. */
const ROUTES = 200;

/** Rejects when `signal` aborts; the work itself goes on for others. */
function detach<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

export function ownFetch(options: Options, access: Access): typeof globalThis.fetch {
  // Routes that answer 401 to a fresh token too: their 401 is about something else.
  const others = new Set<string>();

  function isOwn(url: URL): boolean {
    return [location.origin, options.url, ...(options.origins ?? [])].some(own => new URL(own, location.href).origin === url.origin);
  }

  /** Whether it makes sense to send the request again, after a refresh if need be. */
  async function again(route: string, sentWith: number | undefined): Promise<boolean> {
    const { session, at, renewed } = access.now();
    if (session.status === "signed_out") return false;
    if (at !== sentWith) return true;
    if (others.has(route) || renewed) return false;
    await access.refresh();
    return access.now().session.status === "signed_in";
  }

  return async (input, init) => {
    if (!access.inBrowser) return fetch(input, init);
    const asked = input instanceof Request ? input : undefined;
    const url = new URL(asked?.url ?? (input as string | URL), document.baseURI);
    if (!isOwn(url) || (init?.credentials ?? asked?.credentials) === "omit") return fetch(input, init);

    const request = new Request(input, { ...init, credentials: "include" });
    await detach(access.settle(), request.signal);
    const before = access.now();
    // A stream can be read once. Everything else is copied before the first sending uses it up.
    const spare = init?.body instanceof ReadableStream ? undefined : request.clone();
    const route = request.method + url.origin + url.pathname;
    let response = await fetch(request);
    if (response.ok) others.delete(route);
    if (response.status === 401) {
      const repeat = again(route, before.at);
      if (!spare) repeat.catch(() => {});
      else if (await detach(repeat, request.signal)) {
        response = await fetch(spare);
        if (response.status === 401) {
          if (others.size >= ROUTES) others.clear();
          others.add(route);
        }
      }
    }
    const now = access.now().session;
    if (before.session.user && now.user && before.session.user.sub !== now.user.sub) {
      throw new MintgateError("PERSON_CHANGED", "Another person has signed in since.");
    }
    return response;
  };
}

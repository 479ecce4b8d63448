// A page for tests without a browser: the globals that the client uses, and a `fetch` that a test answers.
import { afterEach, beforeEach, vi } from "vitest";

export interface FakePage {
  requests: string[];
  events: EventTarget;
  /** The address that the page went to. */
  went: string | undefined;
  closed: boolean;
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json", ...headers } });
}
export const refused = (status: number, errorCode: string, headers = {}) => json(status, { errorCode, message: errorCode }, headers);
export const alice = { sub: "1", sid: "s1", roles: ["user"], provider: "corp", name: "alice", exp: 1, expiresIn: 60 };

class MemoryStorage {
  #all = new Map<string, string>();
  getItem = (key: string) => this.#all.get(key) ?? null;
  setItem = (key: string, value: string) => void this.#all.set(key, value);
}

/** Makes the globals of a page at `address`; `answer` answers its requests. */
export function fakePage(
  address: string,
  answer: (request: Request) => Response | Promise<Response>,
  more: { cookie?: string; missing?: string[]; stored?: Record<string, unknown>; active?: boolean } = {},
): FakePage {
  vi.spyOn(console, "info").mockReturnValue();
  const events = new EventTarget();
  const url = new URL(address);
  const page: FakePage = { requests: [], events, went: undefined, closed: false };
  pages.push(page);
  const visible = new EventTarget();
  const local = new MemoryStorage();
  for (const [key, value] of Object.entries(more.stored ?? {})) local.setItem(key, JSON.stringify(value));
  const globals: Record<string, unknown> = {
    document: {
      visibilityState: "visible", cookie: more.cookie ?? "", baseURI: address,
      addEventListener: visible.addEventListener.bind(visible),
    },
    location: {
      get href() { return url.href; },
      get search() { return url.search; },
      get pathname() { return url.pathname; },
      origin: url.origin, hostname: url.hostname, protocol: url.protocol,
      assign: (to: string) => (page.went = to), replace: (to: string) => (page.went = to),
    },
    history: { state: null, replaceState: (_: unknown, __: string, to: string) => (url.href = new URL(to, url).href) },
    localStorage: local,
    sessionStorage: new MemoryStorage(),
    navigator: { userActivation: { isActive: more.active ?? true } },
    addEventListener: events.addEventListener.bind(events),
    Request: class extends Request {
      constructor(input: string | URL | Request, init?: RequestInit) {
        super(input instanceof Request ? input : new URL(input, address), init);
      }
    },
    fetch: async (input: string | URL | Request, init?: RequestInit) => {
      if (page.closed) return new Promise(() => {});
      const request = new Request(input, init);
      page.requests.push(`${request.method} ${request.url}`);
      const response = await answer(request);
      request.signal.throwIfAborted();
      return response;
    },
  };
  for (const [name, value] of Object.entries(globals)) {
    if (!more.missing?.includes(name)) vi.stubGlobal(name, value);
  }
  for (const name of more.missing ?? []) {
    Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error(`no ${name}`); } });
  }
  missing = more.missing ?? [];
  return page;
}

let missing: string[] = [];
const pages: FakePage[] = [];
beforeEach(() => void vi.useFakeTimers({ shouldAdvanceTime: true }));
afterEach(async () => {
  for (const page of pages.splice(0)) page.closed = true;
  vi.clearAllTimers();
  vi.useRealTimers();
  // What is under way stops at its next request.
  await new Promise(resolve => setTimeout(resolve, 5));
  for (const name of missing) delete (globalThis as any)[name];
  missing = [];
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  delete (globalThis as any)[Symbol.for("@mintgate/client")];
});

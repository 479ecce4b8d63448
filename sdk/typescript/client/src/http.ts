/** What came back from Mintgate, reduced to what the client decides by. */
export interface Answer {
  ok: boolean;
  /** The `errorCode`; `UNREACHABLE` if there is no answer, or one that is not Mintgate's. */
  code: string;
  message: string;
  /** The session is over: no further answer changes that. */
  ended: boolean;
  /** There is no answer, or one that says to try again later. */
  lost: boolean;
  /** How long Mintgate wants to be left alone, in milliseconds. */
  retryAfter: number;
  body: any;
}

export type Call = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Answer>;

const ENDS = /^(INVALID_REFRESH_TOKEN|REFRESH_TOKEN_EXPIRED|REFRESH_TOKEN_REUSED|SESSION_REVOKED)$/;
const LIMIT_MS = 10_000;

/** Makes the function that calls Mintgate. It never rejects: a missing or strange answer is `UNREACHABLE`. */
export function caller(base: string): Call {
  return async (method, path, body, headers) => {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), LIMIT_MS);
    const answer: Answer = {
      ok: false, code: "UNREACHABLE", message: "Mintgate cannot be reached.", ended: false, lost: true, retryAfter: 0, body: {},
    };
    try {
      const response = await fetch(base + path, {
        method,
        credentials: "include",
        cache: "no-store",
        // The answer's cookies are stored even if the page is closed before it arrives.
        keepalive: method === "POST",
        ...(body ? { body: JSON.stringify(body) } : {}),
        headers: { ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
        signal: stop.signal,
      });
      answer.retryAfter = (Number(response.headers.get("Retry-After")) || 0) * 1000;
      const { status } = response;
      answer.body = status === 204 ? {} : await response.json();
      const { errorCode, message } = answer.body;
      answer.ok = response.ok;
      if (errorCode) {
        answer.code = errorCode;
        answer.message = message;
        answer.ended = status === 401 ? ENDS.test(errorCode) : status === 403 && errorCode === "ACCESS_DENIED";
      }
      answer.lost = !answer.ok && (!errorCode || status >= 500 || status === 429);
    } catch {
      // No answer, or no JSON: a proxy's page, a portal's, or half an answer.
      answer.body = {};
    } finally {
      clearTimeout(timer);
    }
    return answer;
  };
}

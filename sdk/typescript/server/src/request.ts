/** What is read of a request: that of the Fetch standard (Next.js and others), or that of Node's `http` (Express). */
export type AnyRequest =
  | { method: string; url: string; headers: { get(name: string): string | null } }
  | {
      method?: string | undefined;
      url?: string | undefined;
      originalUrl?: string | undefined;
      headers: Record<string, string | string[] | undefined>;
    };

/** Reads a header; several of one name are joined as HTTP does it. */
export function header(request: AnyRequest, name: string): string {
  const { headers } = request;
  if ("get" in headers && typeof headers.get === "function") return headers.get(name) ?? "";
  const value = (headers as Record<string, string | string[] | undefined>)[name];
  return Array.isArray(value) ? value.join(name === "cookie" ? "; " : ", ") : value ?? "";
}

/** The path and the query, byte for byte. */
export function target(request: AnyRequest): string {
  const url = ("originalUrl" in request && request.originalUrl) || request.url || "/";
  return url.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "").replace(/^(?!\/)/, "/").replace(/#.*$/s, "");
}

/** The values of a cookie; a browser sends a name twice if two hosts have set it. */
export function cookies(request: AnyRequest, name: RegExp): string[] {
  return header(request, "cookie")
    .split(/;\s*/)
    .flatMap(pair => (name.test(pair.slice(0, pair.indexOf("="))) ? [pair.slice(pair.indexOf("=") + 1)] : []));
}

/** Whether a person goes to this address with a whole tab, and no script, prefetch or frame asks for it. */
export function isNavigation(request: AnyRequest): boolean {
  const mode = header(request, "sec-fetch-mode");
  const ahead = ["sec-purpose", "purpose", "x-purpose", "x-moz"].some(name => /prefetch|prerender|preview/.test(header(request, name)));
  const wanted = mode ? mode === "navigate" && /^(document)?$/.test(header(request, "sec-fetch-dest")) : /text\/html/.test(header(request, "accept"));
  return wanted && !ahead && (request.method ?? "GET") === "GET" && !header(request, "rsc") && !header(request, "next-router-prefetch");
}

// An OpenID provider that signs in whoever the cookie `person` names, without a question.
import { createServer } from "node:http";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { listen } from "./listen.js";

export async function startProvider() {
  const { privateKey, publicKey } = await generateKeyPair("ES256");
  const codes = new Map<string, { person: string; nonce: string | null }>();
  const seen: URLSearchParams[] = [];
  let answer: "code" | "access_denied" | "page" = "code";
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, issuer);
    const json = (body: unknown) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
    if (url.pathname === "/.well-known/openid-configuration") {
      return json({
        issuer,
        authorization_endpoint: issuer + "/authorize",
        token_endpoint: issuer + "/token",
        jwks_uri: issuer + "/jwks",
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["ES256"],
        code_challenge_methods_supported: ["S256"],
      });
    }
    if (url.pathname === "/jwks") return json({ keys: [{ ...(await exportJWK(publicKey)), kid: "1", alg: "ES256", use: "sig" }] });
    if (url.pathname === "/authorize") {
      seen.push(url.searchParams);
      if (answer === "page") return response.setHeader("Content-Type", "text/html").end("<title>provider</title>");
      const back = new URL(url.searchParams.get("redirect_uri")!);
      back.searchParams.set("state", url.searchParams.get("state")!);
      if (answer === "code") {
        const code = crypto.randomUUID();
        const person = /person=(\w+)/.exec(request.headers.cookie ?? "")?.[1] ?? "alice";
        codes.set(code, { person, nonce: url.searchParams.get("nonce") });
        back.searchParams.set("code", code);
      } else back.searchParams.set("error", answer);
      return response.writeHead(302, { Location: back.href }).end();
    }
    let form = "";
    for await (const part of request) form += part;
    const login = codes.get(new URLSearchParams(form).get("code") ?? "");
    if (!login) return response.writeHead(400, { "Content-Type": "application/json" }).end('{"error":"invalid_grant"}');
    const { person, nonce } = login;
    const token = new SignJWT({ nonce, name: person, groups: [] })
      .setProtectedHeader({ alg: "ES256", kid: "1" })
      .setIssuer(issuer).setSubject(person).setAudience("mintgate").setIssuedAt().setExpirationTime("5m");
    json({ access_token: "a", token_type: "Bearer", expires_in: 300, id_token: await token.sign(privateKey) });
  });
  const issuer = `http://localhost:${await listen(server)}`;
  return { issuer, seen, stop: () => server.close(), answerWith: (next: typeof answer) => (answer = next) };
}

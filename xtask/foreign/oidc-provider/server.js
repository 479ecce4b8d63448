// oidc-provider with one client and its own pages: any name and any password sign in.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import Provider from "oidc-provider";

const env = process.env;
const random = () => randomBytes(16).toString("hex");
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

const provider = new Provider(env.ISSUER, {
  clients: [{
    client_id: env.CLIENT_ID,
    client_secret: env.CLIENT_SECRET,
    redirect_uris: [env.REDIRECT_URI],
    grant_types: ["authorization_code", "refresh_token"],
    post_logout_redirect_uris: [env.AFTER_LOGOUT],
    backchannel_logout_uri: env.BACKCHANNEL_LOGOUT,
    backchannel_logout_session_required: true,
  }],
  claims: { email: ["email", "email_verified"], profile: ["name"] },
  cookies: { keys: [random()] },
  features: { backchannelLogout: { enabled: true } },
  // Its own refuses addresses of this machine, where the client is.
  fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: id, email: `${id}@example.com`, email_verified: true }),
  }),
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: random(), use: "sig", alg: "RS256" }] },
});
provider.on("backchannel.error", (_, error) => console.error(error));
provider.listen(Number(env.PORT), "127.0.0.1");

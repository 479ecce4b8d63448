export { createMintgate } from "./client.js";
export { MintgateError } from "./types.js";
export type { Mintgate, Options, Provider, Session, SessionInfo, SignInOptions, SignOutOptions, User } from "./types.js";

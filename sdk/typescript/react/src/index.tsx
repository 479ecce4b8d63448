"use client";

import { createMintgate, type Mintgate, type Options, type Session, type User } from "@mintgate/client";
import { createContext, type ReactElement, type ReactNode, useContext, useState, useSyncExternalStore } from "react";

const LOADING: Session = { status: "unknown", reason: "LOADING" };
const Context = createContext<{ client: Mintgate; initial: Session } | undefined>(undefined);

/** Properties of {@link MintgateProvider}: a client that exists already, or the options to make one. */
export type MintgateProviderProps = {
  children?: ReactNode;
  /** What the server has rendered the page with. Without it, the first render is that of a page that is loading. */
  session?: Session;
} & ({ client: Mintgate } | Options);

/** Gives the components below it the session. */
export function MintgateProvider({ children, session = LOADING, ...from }: MintgateProviderProps): ReactElement {
  const [client] = useState(() => ("client" in from ? from.client : createMintgate(from)));
  return <Context.Provider value={{ client, initial: session }}>{children}</Context.Provider>;
}

function useMintgateContext() {
  const found = useContext(Context);
  if (!found) throw new Error("This component needs a <MintgateProvider> around it.");
  return found;
}

/** The client of the provider, for `signIn`, `signOut` and `fetch`. */
export function useMintgate(): Mintgate {
  return useMintgateContext().client;
}

/** The session; the component is rendered again when it changes. */
export function useSession(): Session {
  const { client, initial } = useMintgateContext();
  return useSyncExternalStore(
    client.onChange,
    () => (client.session.reason === "LOADING" ? initial : client.session),
    () => initial,
  );
}

/** Shows its children if somebody is signed in, also while Mintgate cannot be asked. They may be a function of the person. */
export function SignedIn({ children }: { children?: ReactNode | ((user: User) => ReactNode) }): ReactNode {
  const { status, user } = useSession();
  if (status === "signed_out" || !user) return null;
  return typeof children === "function" ? children(user) : children;
}

/** Shows its children if it is certain that nobody is signed in. */
export function SignedOut({ children }: { children?: ReactNode }): ReactNode {
  return useSession().status === "signed_out" ? children : null;
}

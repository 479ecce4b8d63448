import { MintgateProvider, SignedIn, SignedOut, useSession } from "@mintgate/react";
import { useEffect, useState } from "react";
import { auth } from "./auth.js";

export default function App() {
  return (
    <MintgateProvider client={auth}>
      <Status />
      <SignedIn>{user => <Home user={user} />}</SignedIn>
      <SignedOut><SignIn /></SignedOut>
    </MintgateProvider>
  );
}

function Status() {
  const { status, reason } = useSession();
  return status === "unknown" && <p role="status">{reason === "LOADING" ? "…" : "The service cannot be reached. We keep trying."}</p>;
}

function SignIn() {
  const { reason } = useSession();
  const [providers, setProviders] = useState([]);
  useEffect(() => void auth.providers().then(setProviders, () => {}), []);
  return (
    <>
      {reason === "LOGIN_CANCELLED" && <p role="alert">You have cancelled the sign-in.</p>}
      {providers.map(({ id, displayName }) => <button key={id} onClick={() => auth.signIn(id)}>Sign in with {displayName}</button>)}
    </>
  );
}

function Home({ user }) {
  const [sessions, setSessions] = useState([]);
  useEffect(() => void auth.sessions().then(setSessions, () => {}), [user.sid]);
  return (
    <>
      <h1>Hello {user.name ?? user.sub}</h1>
      <ul>{sessions.map(({ sid, userAgent, current }) => <li key={sid}>{current ? "this device" : userAgent}</li>)}</ul>
      <button onClick={() => auth.signOut()}>Sign out</button>
      <button onClick={() => auth.signOut({ everywhere: true })}>Sign out everywhere</button>
    </>
  );
}

// Starts Mintgate with its provider for development, and Vite.
import { spawn } from "node:child_process";

const mintgate = process.env.MINTGATE_BIN ?? "mintgate";
const running = [
  spawn(mintgate, ["dev", "--app", "http://localhost:5173"], { stdio: "inherit" }),
  spawn("npx", ["vite"], { stdio: "inherit" }),
];
const stop = code => {
  for (const one of running) one.kill();
  process.exitCode ??= code;
};
for (const one of running) {
  one.on("error", error => (console.error(`${error.message} (set MINTGATE_BIN to the mintgate program)`), stop(1)));
  one.on("exit", code => stop(code ?? 0));
}
process.on("SIGINT", () => stop(0));

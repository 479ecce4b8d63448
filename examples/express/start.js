// Starts Mintgate with its provider for development, and the app.
import { spawn } from "node:child_process";

const mintgate = process.env.MINTGATE_BIN ?? "mintgate";
const running = [
  spawn(mintgate, ["dev", "--app", "http://localhost:3000"], { stdio: "inherit" }),
  spawn("node", ["app.js"], { stdio: "inherit" }),
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

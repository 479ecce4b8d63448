import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Listens on a free port of loopback, or on the given one, and returns the port. */
export function listen(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
  });
}

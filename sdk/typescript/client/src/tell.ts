const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** Says in the console what would otherwise be a riddle. `host` is Mintgate's; `stores`, whether there is a `localStorage`. */
export function tell(base: string, host: string, stores: boolean): void {
  const { hostname, pathname, href } = location;
  if (!stores || !navigator.locks) {
    console.info("mintgate: no localStorage or no Web Locks here: each tab refreshes for itself.");
  }
  if (hostname !== host && LOOPBACK.test(hostname) && LOOPBACK.test(host)) {
    console.warn(`mintgate: the page is on ${hostname}, Mintgate on ${host}: no cookies come. Use one name.`);
  }
  if (href.startsWith(base + "/")) {
    console.error(`mintgate: ${pathname} is Mintgate's, but the app answered. A service worker must leave ${base}/ to the network.`);
  }
}

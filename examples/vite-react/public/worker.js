// Shows the app's page without a network too. Mintgate's paths are left to the network: a link that begins or ends a login
// must reach the service.
const SHELL = "/index.html";

self.addEventListener("install", event => {
  event.waitUntil(caches.open("shell").then(cache => cache.add(SHELL)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", event => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", event => {
  if (event.request.mode !== "navigate" || new URL(event.request.url).pathname.startsWith("/api/")) return;
  event.respondWith(fetch(event.request).catch(() => caches.match(SHELL)));
});

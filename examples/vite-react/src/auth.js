import { createMintgate } from "@mintgate/client";

// Vite passes Mintgate's paths on (vite.config.js), so that it is on the same origin as the app.
export const auth = createMintgate({ url: location.origin });

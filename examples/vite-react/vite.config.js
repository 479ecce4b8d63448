export default {
  // React must be there once, though the packages are linked.
  resolve: { dedupe: ["react", "react-dom"] },
  server: {
    port: 5173,
    strictPort: true,
    // `Origin` stays that of the app, which Mintgate allows.
    proxy: { "/api/v1/auth": process.env.MINTGATE_URL ?? "http://localhost:8080" },
  },
};

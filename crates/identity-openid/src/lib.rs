//! OpenID Connect identity providers: openidconnect behind the IdentityProvider port.

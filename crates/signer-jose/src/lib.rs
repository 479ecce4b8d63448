//! Signing keys, JWS signing and the JWKS: josekit behind the TokenSigner port.

//! What single providers do otherwise than the standards, where data alone cannot say it.

pub(crate) mod apple;
pub(crate) mod entra;

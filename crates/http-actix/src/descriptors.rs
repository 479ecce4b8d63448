//! The limit of file descriptors, of which each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many descriptors are left to everything but connections of the public listener: at least so many,
/// and a quarter of all.
const RESERVE: u64 = 128;

/// Raises the limit of open files to the highest that the process may choose itself. What it is
/// commonly (1024) is for programs that use `select`.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// How many connections the public listener can have, if it is to have so many at most. Says so in the
/// log if they are fewer.
pub fn affordable(most: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let affordable = of_limit(limit.unwrap_or(u64::MAX));
    if affordable < most {
        tracing::warn!(
            limit,
            affordable,
            "the limit of open files allows fewer connections than limits.max_connections"
        );
    }
    affordable.min(most)
}

/// How many connections are left to the public listener where a process may have so many descriptors.
pub fn of_limit(limit: u64) -> usize {
    let left = limit.saturating_sub(RESERVE.max(limit / 4));
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_descriptors_and_at_least_128_are_left() {
        assert_eq!(of_limit(1024), 768);
        assert_eq!(of_limit(20_000), 15_000);
        assert_eq!(of_limit(256), 128);
        assert_eq!(of_limit(100), 1);
        assert_eq!(of_limit(u64::MAX), usize::try_from(u64::MAX - u64::MAX / 4).unwrap());
    }
}

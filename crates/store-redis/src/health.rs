//! Whether the engine can be trusted with sessions.

use async_trait::async_trait;
use mintgate_domain::Cause;
use mintgate_domain::ports::{PoolState, StoreError, StoreHealth};
use redis::Value;

use crate::store::RedisStore;
use crate::{keys, scripts};

impl RedisStore {
    /// The text that was left as a mark of this engine; `None` in an engine that has none, as an empty one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub async fn marker(&self) -> Result<Option<String>, StoreError> {
        self.run(scripts::READ, &[keys::MARKER], &[]).await
    }

    /// Leaves a text as a mark of this engine, unless there is one; the mark that is there then. Replicas have it
    /// where ends of sessions wait for them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub async fn leave_marker(&self, text: &str) -> Result<String, StoreError> {
        let script = scripts::LEAVE_MARKER;
        self.run_and_wait(script, &[keys::MARKER], &[text.to_owned()]).await
    }

    /// How many replicas are connected to the primary; to the one that has fewest, in a cluster.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]
    pub async fn connected_replicas(&self) -> Result<u32, StoreError> {
        let infos = self.infos("replication").await?;
        let counts = infos.iter().map(|info| number(info, "connected_slaves"));
        Ok(counts.min().unwrap_or(0))
    }

    /// What each primary says of itself.
    async fn infos(&self, section: &str) -> Result<Vec<String>, StoreError> {
        let mut command = redis::cmd("INFO");
        command.arg(section);
        let answer: Value = self.link.ask(&command).await?;
        let texts = match answer {
            // A cluster's primaries by their addresses.
            Value::Map(nodes) => nodes.into_iter().map(|(_, info)| info).collect(),
            Value::Array(nodes) if self.link.is_cluster() => nodes,
            one => vec![one],
        };
        let read = |value| redis::from_redis_value::<String>(value).unwrap_or_default();
        Ok(texts.into_iter().map(read).collect())
    }
}

/// The value of a line of `INFO`.
fn line<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

fn number(info: &str, name: &str) -> u32 {
    line(info, name).and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl StoreHealth for RedisStore {
    /// An engine that evicts is not one for sessions: it would drop live ones without an error.
    async fn check(&self) -> Result<(), StoreError> {
        for info in self.infos("memory").await? {
            let policy = line(&info, "maxmemory_policy").unwrap_or("noeviction");
            if policy != "noeviction" {
                return Err(StoreError::Unavailable(Cause::new(format!(
                    "Redis deletes sessions when its memory is full: maxmemory-policy is {}; set it to \
                     noeviction",
                    mintgate_domain::excerpt(policy)
                ))));
            }
        }
        Ok(())
    }

    fn pool_state(&self) -> PoolState {
        self.link.pool_state()
    }
}

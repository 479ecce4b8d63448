//! The contract every store keeps.

use crate::harness::fresh_store;

mintgate_testkit::store_suite!(fresh_store);

/// What limits count, as it is shared between processes.
mod counts {
    use std::time::Duration;

    use async_trait::async_trait;
    use mintgate_domain::ports::SharedCounts;
    use mintgate_testkit::shared_counts_suite::CountsUnderTest;

    use crate::harness::{PgUnderTest, fresh_store};

    #[async_trait]
    impl CountsUnderTest for PgUnderTest {
        fn counts(&self) -> &dyn SharedCounts {
            &*self.store
        }

        async fn age(&self, by: Duration) {
            let update = "UPDATE shared_counts SET at = at - make_interval(secs => $1)";
            self.admin.execute(update, &[&by.as_secs_f64()]).await.unwrap();
        }

        async fn stored(&self) -> usize {
            self.admin.query("SELECT FROM shared_counts", &[]).await.unwrap().len()
        }
    }

    mintgate_testkit::shared_counts_suite!(fresh_store);
}

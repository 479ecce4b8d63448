//! What the limits of processes have counted, in memory: a fake for tests of what exchanges it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{CountReport, ReplicaId};
use mintgate_domain::ports::{SharedCounts, StoreError};

use crate::shared_counts_suite::CountsUnderTest;

const MINUTE: Duration = Duration::from_mins(1);

/// Passes reports on in memory. It passes the same suite as a real store.
#[derive(Debug, Default)]
pub struct MemoryCounts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The reports, and how old each is.
    reports: BTreeMap<(ReplicaId, u64), (CountReport, Duration)>,
    fault: Option<StoreError>,
}

impl MemoryCounts {
    /// Has every call fail from now on, or work again.
    pub fn set_fault(&self, fault: Option<StoreError>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Lets time go by.
    pub fn age(&self, by: Duration) {
        self.0.lock().unwrap().reports.values_mut().for_each(|(_, age)| *age += by);
    }

    /// Every report that is stored.
    pub fn reports(&self) -> Vec<CountReport> {
        self.0.lock().unwrap().reports.values().map(|(report, _)| report.clone()).collect()
    }
}

#[async_trait]
impl SharedCounts for MemoryCounts {
    async fn exchange(
        &self,
        report: &CountReport,
        known: &[(ReplicaId, u64)],
    ) -> Result<Vec<CountReport>, StoreError> {
        let mut state = self.0.lock().unwrap();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        state.reports.retain(|_, (_, age)| *age < 2 * MINUTE);
        let is_known = |one: &CountReport| {
            known.iter().any(|(id, number)| *id == one.replica && *number >= one.number)
        };
        let others = state
            .reports
            .values()
            .filter(|(one, age)| one.replica != report.replica && *age < MINUTE && !is_known(one));
        let others = others.map(|(one, age)| {
            let mut one = one.clone();
            one.counts.iter_mut().for_each(|count| count.age += *age);
            one
        });
        let others = others.collect();
        if !report.counts.is_empty() {
            let key = (report.replica, report.number);
            state.reports.entry(key).or_insert_with(|| (report.clone(), Duration::ZERO));
        }
        Ok(others)
    }
}

#[async_trait]
impl CountsUnderTest for MemoryCounts {
    fn counts(&self) -> &dyn SharedCounts {
        self
    }

    async fn age(&self, by: Duration) {
        Self::age(self, by);
    }

    async fn stored(&self) -> usize {
        self.reports().len()
    }
}

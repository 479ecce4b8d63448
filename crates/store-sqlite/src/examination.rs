//! What the file says of itself when an operator asks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use mintgate_domain::ports::{Duty, StoreError, StoreExamination, StoreFacts};

use crate::migrations;
use crate::replicas::living;
use crate::schema::duties;
use crate::store::SqliteStore;

#[async_trait]
impl StoreExamination for SqliteStore {
    async fn examine(&self, issuer: &str, patience: Duration) -> Result<StoreFacts, StoreError> {
        let (file, issuer, now) = (Arc::clone(&self.file), issuer.to_owned(), self.clock.now());
        let ask = move |connection: &mut SqliteConnection| {
            file.require_in_place()?;
            let pending = migrations::pending(connection)?;
            let replicas = match migrations::require_current(connection) {
                Ok(()) => living(connection, &issuer, patience, now.into())?,
                Err(_) => Vec::new(),
            };
            Ok((pending, replicas, file.disk().ok()))
        };
        let (pending, replicas, disk) = self.health.run(ask).await?;
        let written = self.write_a_row_as_it_is().await;
        Ok(StoreFacts { pending, written, replicas, server: None, disk })
    }
}

impl SqliteStore {
    async fn write_a_row_as_it_is(&self) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let work = move |connection: &mut SqliteConnection| {
            migrations::require_current(connection)?;
            file.require_writable()?;
            let row = diesel::update(duties::table.find(Duty::Sweep.name()));
            row.set(duties::name.eq(Duty::Sweep.name())).execute(connection)?;
            Ok(())
        };
        self.writer.transact(work).await
    }
}

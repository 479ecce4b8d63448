//! From a source to the store: one batch after another, whatever their number.

use mintgate_domain::model::{AuditEvent, AuditKind, ImportedUser, ProfileClaims, Timestamp};
use mintgate_domain::{ImportClaims, ImportPeople, ImportResult, chain};
use tokio::sync::mpsc::Receiver;

use crate::mapping::Mapping;
use crate::person::Found;
use crate::report::{Class, Report};
use crate::sorting::sort;

/// How many people are stored in one transaction.
pub(crate) const BATCH: usize = 500;
/// How many of those who were imported before are read at once.
const PAGE: u32 = 1000;

/// An import under way.
pub(crate) struct Run<'a> {
    pub(crate) import: &'a ImportPeople,
    pub(crate) mapping: &'a Mapping,
    pub(crate) kept: &'a ProfileClaims,
    pub(crate) apply: bool,
    pub(crate) report: Report,
    pub(crate) claims: ImportClaims,
}

impl Run<'_> {
    /// Imports everybody whom a source yields.
    ///
    /// # Errors
    /// Why the store could not be used.
    pub(crate) async fn all(&mut self, mut source: Receiver<Found>) -> Result<(), String> {
        if self.apply {
            self.note().await?;
        }
        let mut batch = vec![];
        let mut is_over = false;
        while !is_over {
            match source.recv().await {
                Some(found) => batch.extend(self.sorted(found)),
                None => is_over = true,
            }
            if batch.len() >= BATCH || (is_over && !batch.is_empty()) {
                self.store(std::mem::take(&mut batch)).await?;
            }
        }
        Ok(())
    }

    /// Notes who imports, before anybody gets a right by it.
    async fn note(&self) -> Result<(), String> {
        let administration = &self.import.administration;
        let now = Timestamp::from(administration.clock.now());
        let event = AuditEvent::new(AuditKind::PeopleImported, now, administration.actor.clone())
            .with("source", &self.mapping.source);
        administration.audit.record_first(event).await.map_err(|error| {
            let error = chain(&error);
            format!("the audit log cannot be written, so nobody was imported: {error}")
        })
    }

    /// A person who is to be stored, with their class; everything else is counted.
    fn sorted(&mut self, found: Found) -> Option<(Class, ImportedUser)> {
        let person = match found {
            Found::Person(person) => person,
            Found::Invalid(record) => {
                let named = format!("{}: {}", record.place, record.problem);
                self.report.add(Class::Invalid, &named, None);
                if let Some(id) = &record.id {
                    self.claims.see(id);
                }
                return None;
            }
        };
        if let Some(skip) = person.skip {
            self.report.add(Class::Skipped, &person.called(), Some(skip.name()));
            return None;
        }
        let now = self.import.administration.clock.now().into();
        match sort(person, self.mapping, self.kept, self.import.new_id(), now) {
            Err(record) => self.sorted(Found::Invalid(record)),
            Ok(sorted) => {
                for (provider, why) in &sorted.not_taken {
                    self.report.identity_left_out(provider, why);
                }
                for role in &sorted.unknown_roles {
                    self.report.role_left_out(role);
                }
                let user = sorted.user;
                let has_identity = !user.identities.is_empty();
                let class = if has_identity { Class::SignIn } else { Class::MovedSession };
                Some((class, user))
            }
        }
    }

    async fn store(&mut self, batch: Vec<(Class, ImportedUser)>) -> Result<(), String> {
        let (classes, mut people): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        // What is not allowed is looked at, and not written.
        let mut written = vec![];
        let mut looked_at = vec![];
        for (class, person) in classes.into_iter().zip(people.drain(..)) {
            let group = if self.report.allows(class) { &mut written } else { &mut looked_at };
            group.push((class, person));
        }
        for (group, apply) in [(written, self.apply), (looked_at, false)] {
            let (classes, mut people): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let source = &self.mapping.source;
            let results = self.import.import(source, &mut people, &mut self.claims, apply).await;
            let results = results.map_err(|error| chain(&error).to_string())?;
            for ((class, person), result) in classes.iter().zip(&people).zip(results) {
                let id = person.former_ids.first().map_or("", String::as_str);
                let is_written = apply || !self.apply || result == ImportResult::Unchanged;
                match result {
                    ImportResult::Created | ImportResult::Changed if !is_written => {
                        self.report.add(*class, id, Some("not allowed, and not written"));
                    }
                    result => self.report.add_result(*class, id, result),
                }
            }
        }
        Ok(())
    }

    /// Counts those who were imported before and were not in the source.
    ///
    /// # Errors
    /// Why the store could not be asked.
    pub(crate) async fn find_gone(&mut self) -> Result<(), String> {
        let mut after = String::new();
        loop {
            let page = self.import.people.imported(&self.mapping.source, &after, PAGE).await;
            let page = page.map_err(|error| chain(&error).to_string())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (id, _) in page.iter().filter(|(id, _)| !self.claims.has_id(id)) {
                self.report.add(Class::Gone, id, None);
            }
        }
    }
}

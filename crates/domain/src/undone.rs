//! What a restored backup has undone, by the audit log as it was exported before.

use crate::model::{Actor, AuditEvent, AuditKind, Timestamp, UserId};

/// Something that took rights away and is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoneAct {
    /// A user who had been disabled may sign in again.
    UserDisabled(UserId),
    /// A user who had been deleted is stored again.
    UserDeleted(UserId),
    /// A user has a granted role again that had been taken away.
    RoleRevoked(UserId, String),
    /// A user has an identity of this issuer again that they had unlinked.
    IdentityUnlinked(UserId, String),
    /// A signing key that had been removed verifies again, if the keys are in the store.
    KeyRetired(String),
}

impl UndoneAct {
    fn user(&self) -> Option<UserId> {
        match self {
            Self::UserDisabled(user)
            | Self::UserDeleted(user)
            | Self::RoleRevoked(user, _)
            | Self::IdentityUnlinked(user, _) => Some(*user),
            Self::KeyRetired(_) => None,
        }
    }
}

/// An act that is undone, as the audit log knew it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// What was done.
    pub act: UndoneAct,
    /// When it was done.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Actor,
}

/// Collects what is undone from the entries that the store has lost, in their order.
#[derive(Debug, Default)]
pub struct UndoneActs {
    /// Each with whether it was taken back later.
    acts: Vec<(Undone, bool)>,
}

impl UndoneActs {
    /// Takes an entry that the store has lost into account.
    pub fn read(&mut self, event: &AuditEvent) {
        let detail = |name: &str| event.details.get(name).cloned();
        match event.kind {
            AuditKind::KeyRetired => {
                if let Some(kid) = detail("kid") {
                    self.add(event, UndoneAct::KeyRetired(kid));
                }
            }
            // Noted first: it was taken back only if no failure follows.
            AuditKind::ActFailed => {
                let kind = detail("act").and_then(|name| AuditKind::from_name(&name));
                if let Some(act) = kind.and_then(|kind| reversed(kind, event)) {
                    self.set_taken_back(&act, false);
                }
            }
            kind => {
                if let Some(act) = done(kind, event) {
                    self.add(event, act);
                } else if let Some(act) = reversed(kind, event) {
                    self.set_taken_back(&act, true);
                }
            }
        }
    }

    /// What is to be done again. Of a user who had been deleted, nothing else matters.
    pub fn finish(self) -> Vec<Undone> {
        let of = |act: &UndoneAct| matches!(act, UndoneAct::UserDeleted(_)).then(|| act.user());
        let deleted: Vec<_> = self.acts.iter().filter_map(|(undone, _)| of(&undone.act)).collect();
        let matters = |act: &UndoneAct| of(act).is_some() || !deleted.contains(&act.user());
        let left = self.acts.into_iter().filter(|(_, is_taken_back)| !is_taken_back);
        left.map(|(undone, _)| undone)
            .filter(|undone| undone.act.user().is_none() || matters(&undone.act))
            .collect()
    }

    fn add(&mut self, event: &AuditEvent, act: UndoneAct) {
        self.acts.retain(|(undone, _)| undone.act != act);
        let (at, actor) = (event.at, event.actor.clone());
        self.acts.push((Undone { act, at, actor }, false));
    }

    fn set_taken_back(&mut self, act: &UndoneAct, is_taken_back: bool) {
        for (_, taken_back) in self.acts.iter_mut().filter(|(undone, _)| undone.act == *act) {
            *taken_back = is_taken_back;
        }
    }
}

/// What an entry of this kind took away.
fn done(kind: AuditKind, event: &AuditEvent) -> Option<UndoneAct> {
    let user = event.user?;
    match kind {
        AuditKind::UserDisabled => Some(UndoneAct::UserDisabled(user)),
        AuditKind::UserDeleted => Some(UndoneAct::UserDeleted(user)),
        AuditKind::RoleRevoked => {
            Some(UndoneAct::RoleRevoked(user, event.details.get("role")?.clone()))
        }
        AuditKind::IdentityUnlinked => {
            Some(UndoneAct::IdentityUnlinked(user, event.issuer.clone()?))
        }
        _ => None,
    }
}

/// What an entry of this kind took back.
fn reversed(kind: AuditKind, event: &AuditEvent) -> Option<UndoneAct> {
    let undoes = match kind {
        AuditKind::UserEnabled => AuditKind::UserDisabled,
        AuditKind::RoleGranted => AuditKind::RoleRevoked,
        AuditKind::IdentityLinked => AuditKind::IdentityUnlinked,
        _ => return None,
    };
    done(undoes, event)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const AT: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn user(n: u128) -> UserId {
        UserId::from_uuid(Uuid::from_u128(n))
    }

    fn event(kind: AuditKind, of: u128) -> AuditEvent {
        AuditEvent::new(kind, AT, Actor::Service).of_user(user(of))
    }

    fn undone(events: &[AuditEvent]) -> Vec<UndoneAct> {
        let mut acts = UndoneActs::default();
        for event in events {
            acts.read(event);
        }
        acts.finish().into_iter().map(|undone| undone.act).collect()
    }

    #[test]
    fn what_took_rights_away_is_to_be_done_again() {
        let retired = AuditEvent::new(AuditKind::KeyRetired, AT, Actor::Service).with("kid", "k1");
        let mut unlinked = event(AuditKind::IdentityUnlinked, 4);
        unlinked.issuer = Some("https://idp.example.com".to_owned());
        let events = [
            event(AuditKind::Login, 1),
            event(AuditKind::UserDisabled, 1),
            event(AuditKind::RoleRevoked, 2).with("role", "admin"),
            event(AuditKind::UserDisabled, 3),
            event(AuditKind::UserDeleted, 3),
            unlinked,
            retired,
            event(AuditKind::UserDisabled, 1),
        ];
        let acts = [
            UndoneAct::RoleRevoked(user(2), "admin".to_owned()),
            UndoneAct::UserDeleted(user(3)),
            UndoneAct::IdentityUnlinked(user(4), "https://idp.example.com".to_owned()),
            UndoneAct::KeyRetired("k1".to_owned()),
            UndoneAct::UserDisabled(user(1)),
        ];
        assert_eq!(undone(&events), acts);
    }

    #[test]
    fn what_was_taken_back_is_not_unless_that_failed() {
        let disabled = event(AuditKind::UserDisabled, 1);
        let enabled = event(AuditKind::UserEnabled, 1);
        let failed = event(AuditKind::ActFailed, 1).with("act", "user_enabled");
        assert_eq!(undone(&[disabled.clone(), enabled.clone()]), []);
        assert_eq!(
            undone(&[disabled.clone(), enabled, failed]),
            [UndoneAct::UserDisabled(user(1))]
        );
        let granted = event(AuditKind::RoleGranted, 1).with("role", "b");
        let revoked = event(AuditKind::RoleRevoked, 1).with("role", "a");
        let role = UndoneAct::RoleRevoked(user(1), "a".to_owned());
        assert_eq!(undone(&[revoked, granted]), [role]);
    }
}

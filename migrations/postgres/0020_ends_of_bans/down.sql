DROP INDEX users_disabled_until;

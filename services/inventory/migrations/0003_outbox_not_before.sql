-- A pointer that could not be published for a reason of its own waits, so that those behind it are
-- not held up however many there are of it.
alter table inventory.outbox add column not_before timestamptz;

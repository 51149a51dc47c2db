-- A request that could not be done for a reason of its own waits, so that those behind it are not held
-- up by it.
alter table inventory.repair_requests add column not_before timestamptz;

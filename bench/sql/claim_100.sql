with claimed as (
    select position from inventory.outbox
    order by position
    limit 100
    for update skip locked),
gone as (
    delete from inventory.outbox o using claimed c
    where o.position = c.position
    returning o.position, o.aggregate, o.aggregate_id, o.version)
select g.position, g.aggregate_id, j.event_id, j.event::text, j.traceparent, j.request_id, j.requested_at, j.committed_at
from gone g
join inventory.journal j on j.aggregate_id = g.aggregate_id and j.aggregate = g.aggregate and j.version = g.version;

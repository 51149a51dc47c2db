-- The contract of a trace: the recorded changes of a product, or of a request or an event, newest
-- first, and whether the event of each is still in the outbox.

create function inventory.trace_product(product uuid, max_changes bigint)
returns table (
    event_id uuid, product_id uuid, aggregate text, version bigint, change text, request_id uuid,
    traceparent text, requested_at timestamptz, committed_at timestamptz, pending boolean)
language sql stable security definer set search_path = pg_catalog
as $$
    select j.event_id, j.aggregate_id, j.aggregate, j.version, j.change, j.request_id,
           j.traceparent, j.requested_at, j.committed_at,
           exists (select from inventory.outbox o
                   where o.aggregate_id = j.aggregate_id and o.aggregate = j.aggregate
                     and o.version = j.version)
    from inventory.journal j
    where j.aggregate_id = product
    order by j.committed_at desc, j.version desc
    limit max_changes
$$;

-- The bounds are those of the time in the id; without them, the whole journal would be read.
create function inventory.trace_request_or_event(
    id uuid, earliest timestamptz, latest timestamptz, max_changes bigint)
returns table (
    event_id uuid, product_id uuid, aggregate text, version bigint, change text, request_id uuid,
    traceparent text, requested_at timestamptz, committed_at timestamptz, pending boolean)
language sql stable security definer set search_path = pg_catalog
as $$
    select j.event_id, j.aggregate_id, j.aggregate, j.version, j.change, j.request_id,
           j.traceparent, j.requested_at, j.committed_at,
           exists (select from inventory.outbox o
                   where o.aggregate_id = j.aggregate_id and o.aggregate = j.aggregate
                     and o.version = j.version)
    from inventory.journal j
    where j.requested_at between earliest and latest and (j.request_id = id or j.event_id = id)
    order by j.committed_at desc, j.version desc
    limit max_changes
$$;

-- What reconciliation may rely on: it reads this view and calls these functions, and knows no table.

-- The last ten bits of an id, as everybody who walks the buckets in order computes them.
create function inventory.bucket_of(id uuid) returns int
language sql immutable strict parallel safe
as $$
    select ((get_byte(uuid_send(id), 14) & 3) << 8) | get_byte(uuid_send(id), 15)
$$;

-- a bucket is walked in the order of its ids
create index products_bucket on inventory.products (inventory.bucket_of(id), id);

-- A product without stock cannot be; if one was, it must not look as if there was no product.
create view inventory.sync_feed as
select inventory.bucket_of(p.id) as bucket, p.id, p.version, p.content_hash, p.deleted_at,
       p.updated_at, coalesce(s.version, 0) as stock_version, coalesce(s.on_hand, 0) as on_hand,
       coalesce(s.held, 0) as held, coalesce(s.on_hand - s.held, 0) as available,
       coalesce(s.updated_at, p.updated_at) as stock_updated_at
from inventory.products p
left join inventory.stock s on s.product_id = p.id;

-- What cannot be announced as it is and needs a version of its own first: the listings are ahead of
-- the row, or there is no row, or the journal no longer says what the row says. The relay works
-- them off by the rules.
create table inventory.repair_requests (
    product_id uuid not null,
    part text not null,
    -- the announced version must be greater
    seen_version bigint not null,
    requested_at timestamptz not null,
    constraint repair_requests_pkey primary key (product_id, part),
    constraint repair_requests_part check (part in ('product', 'stock'))
);

-- Announces again what is true of products, above the versions that were seen in their listings.
-- Where a seen version is null, that part is left alone; 0 stands for nothing seen. Takes the rows
-- for share, so that what is announced is the newest there is. Returns how many products it moved.
--
-- The first version of a stock has no journal entry of its own: it travels with the product's.
create function inventory.republish(
    ids uuid[], seen_versions bigint[], seen_stock_versions bigint[], at timestamptz)
returns bigint
language sql volatile security definer set search_path = pg_catalog
as $$
    with seen as (
        select s.id, s.version, s.stock_version
        from unnest(ids, seen_versions, seen_stock_versions) as s (id, version, stock_version)),
    product as (
        select p.id, p.version, p.content_hash, seen.version as seen
        from seen join inventory.products p on p.id = seen.id
        where seen.version is not null
        order by p.id
        for share of p),
    stock as (
        select s.product_id as id, s.version, s.on_hand, s.held, seen.stock_version as seen
        from seen join inventory.stock s on s.product_id = seen.id
        where seen.stock_version is not null
        order by s.product_id
        for share of s),
    wanted as (
        select 'product' as part, p.id, p.version, p.seen, j.aggregate
        from product p
        left join inventory.journal j
          on j.aggregate_id = p.id and j.aggregate = 'product' and j.version = p.version
         and p.version >= p.seen
         and j.event -> 'data' -> 'product' ->> 'content_hash' = p.content_hash
        union all
        select 'stock', s.id, s.version, s.seen, j.aggregate
        from stock s
        left join inventory.journal j
          on j.aggregate_id = s.id and j.version = s.version and s.version >= s.seen
         and j.aggregate = case s.version when 1 then 'product' else 'stock' end
         and (j.event -> 'data' -> 'stock' ->> 'on_hand')::bigint = s.on_hand
         and (j.event -> 'data' -> 'stock' ->> 'held')::bigint = s.held
        union all
        select 'product', seen.id, 0, seen.version, null
        from seen
        where seen.version is not null
          and not exists (select from inventory.products p where p.id = seen.id)),
    -- the product before its stock: an old version of the product must not arrive first
    pointed as (
        insert into inventory.outbox (aggregate, aggregate_id, version, committed_at)
        select aggregate, id, version, at
        from wanted
        where aggregate is not null
        group by id, aggregate, version
        order by id, min(part)),
    requested as (
        insert into inventory.repair_requests as r (product_id, part, seen_version, requested_at)
        select id, part, greatest(seen, version), at
        from wanted
        where aggregate is null
        order by id, part
        on conflict on constraint repair_requests_pkey
        do update set seen_version = greatest(r.seen_version, excluded.seen_version))
    select count(distinct id) from wanted
$$;

-- Which parts of these products are still on their way to the bus. The first version of a product
-- carries its first stock.
create function inventory.pending(ids uuid[]) returns table (id uuid, part text)
language sql stable security definer set search_path = pg_catalog
as $$
    select o.aggregate_id, o.aggregate from inventory.outbox o where o.aggregate_id = any(ids)
    union
    select o.aggregate_id, 'stock' from inventory.outbox o
    where o.aggregate_id = any(ids) and o.aggregate = 'product' and o.version = 1
    union
    select r.product_id, r.part from inventory.repair_requests r where r.product_id = any(ids)
$$;

-- Since when the oldest event waits to be published; null if none does.
create function inventory.oldest_pending() returns timestamptz
language sql stable security definer set search_path = pg_catalog
as $$
    select least((select min(committed_at) from inventory.outbox),
                 (select min(requested_at) from inventory.repair_requests))
$$;

-- Which of these categories have a product that buyers should see.
create function inventory.categories_in_use(candidates text[]) returns setof text
language sql stable security definer set search_path = pg_catalog
as $$
    select c.category
    from unnest(candidates) as c (category)
    where exists (
        select from inventory.products p
        where p.category = c.category and p.status = 'active' and p.deleted_at is null)
$$;

-- The greatest position that was ever given out. A listing that has seen a greater one (the
-- database was restored from a backup) refuses what is announced again under its own version.
create function inventory.last_position() returns bigint
language sql stable security definer set search_path = pg_catalog
as $$
    select coalesce(
        pg_sequence_last_value(pg_get_serial_sequence('inventory.outbox', 'position')), 0)
$$;

-- The write side: products, their stock, the journal of every change, and the outbox.

create table inventory.products (
    id uuid not null,
    seller_id uuid not null,
    sku text not null,
    name text not null,
    description text,
    category text not null,
    attributes jsonb not null,
    amount bigint not null,
    currency text not null,
    status text not null,
    version bigint not null,
    content_hash text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    constraint products_pkey primary key (id),
    constraint products_amount check (amount between 0 and 1000000000000),
    constraint products_status check (status in ('draft', 'active', 'archived')),
    constraint products_version check (version > 0)
);

-- a sku is free again once its product is deleted
create unique index products_sku on inventory.products (seller_id, sku) where deleted_at is null;
create index products_seller on inventory.products (seller_id, id);

create table inventory.stock (
    product_id uuid not null,
    on_hand bigint not null,
    held bigint not null default 0,
    version bigint not null,
    updated_at timestamptz not null,
    constraint stock_pkey primary key (product_id),
    constraint stock_product_fkey foreign key (product_id) references inventory.products (id),
    constraint stock_on_hand check (on_hand between 0 and 1000000000),
    constraint stock_held check (held >= 0),
    constraint stock_version check (version > 0)
);

-- Append-only: what an aggregate became, who made it so, and when. It never holds personal data.
create table inventory.journal (
    aggregate text not null,
    aggregate_id uuid not null,
    version bigint not null,
    event_id uuid not null,
    change text not null,
    -- the event that announces the change: its type, and its data with the full state
    event json not null,
    actor uuid not null,
    reason text,
    request_id uuid not null,
    traceparent text not null,
    requested_at timestamptz not null,
    committed_at timestamptz not null,
    constraint journal_pkey primary key (aggregate_id, aggregate, version),
    constraint journal_aggregate check (aggregate in ('product', 'stock'))
);

-- Pointers into the journal, deleted once published. A republish is only another pointer, so it
-- never becomes false history.
create table inventory.outbox (
    position bigint generated always as identity,
    aggregate text not null,
    aggregate_id uuid not null,
    version bigint not null,
    committed_at timestamptz not null,
    constraint outbox_pkey primary key (position)
)
-- rows live for milliseconds
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

create table inventory.idempotency (
    subject uuid not null,
    route text not null,
    key text not null,
    request_hash bytea not null,
    aggregate_id uuid not null,
    version bigint not null,
    created_at timestamptz not null,
    constraint idempotency_pkey primary key (subject, route, key)
);

create index idempotency_created_at on inventory.idempotency (created_at);

-- Ids of requests and events carry the time they were made at, so this finds them: a block range
-- index costs the write path nearly nothing.
create index journal_requested_at on inventory.journal using brin (requested_at)
    with (pages_per_range = 16, autosummarize = on);

-- The tables of the write ceilings: a product and its event, nothing else.
create table products (
    id uuid primary key,
    seller_id bigint not null,
    name text not null,
    category text not null,
    amount bigint not null check (amount >= 0),
    currency char(3) not null,
    stock int not null check (stock >= 0),
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table outbox (
    id bigint generated always as identity primary key,
    aggregate_id uuid not null,
    version bigint not null,
    event_type text not null,
    payload jsonb not null,
    created_at timestamptz not null default now()
);

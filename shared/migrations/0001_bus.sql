-- The local bus: one queue a consumer, at least once, in any order.

create table bus.messages (
    id bigint generated always as identity,
    queue text not null,
    event_id uuid not null,
    event_type text not null,
    -- the aggregate that the event is about
    subject uuid not null,
    body text not null,
    sent_at timestamptz not null,
    -- a received message is out of sight until then
    visible_at timestamptz not null,
    attempts int not null default 0,
    last_failure text,
    constraint messages_pkey primary key (id)
)
-- every message is updated when it is received and deleted soon after
with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

create index messages_visible on bus.messages (queue, visible_at, id);
create index messages_subject on bus.messages (subject);

create table bus.dead_letters (
    id bigint not null,
    queue text not null,
    event_id uuid not null,
    event_type text not null,
    subject uuid not null,
    body text not null,
    reason text not null,
    attempts int not null,
    sent_at timestamptz not null,
    dead_at timestamptz not null,
    constraint dead_letters_pkey primary key (id)
);

create index dead_letters_queue on bus.dead_letters (queue, dead_at);
create index dead_letters_subject on bus.dead_letters (subject);

-- who redrove or discarded what
create table bus.dead_letter_audit (
    id bigint generated always as identity,
    at timestamptz not null,
    actor text not null,
    action text not null,
    dead_letter_id bigint not null,
    queue text not null,
    event_id uuid not null,
    reason text not null,
    constraint dead_letter_audit_pkey primary key (id),
    constraint dead_letter_audit_action check (action in ('redrive', 'discard'))
);

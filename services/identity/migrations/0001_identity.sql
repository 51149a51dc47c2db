-- Who somebody is: users, the codes that are mailed to them, and their sessions.

create table identity.users (
    id uuid not null,
    -- in lower case: one mailbox is one user, however its address is written
    email text not null,
    name text not null,
    -- PHC string
    password_hash text not null,
    roles text[] not null,
    -- until then the address is only claimed, and nobody can log in
    activated_at timestamptz,
    created_at timestamptz not null,
    constraint users_pkey primary key (id),
    constraint users_email unique (email),
    constraint users_email_lower check (email = lower(email)),
    constraint users_roles check (roles <@ array['buyer', 'seller', 'operator'] and roles <> '{}')
);

create index users_pending on identity.users (created_at) where activated_at is null;

-- One code a purpose: a new one replaces the one before.
create table identity.codes (
    user_id uuid not null,
    purpose text not null,
    hash bytea not null,
    attempts integer not null default 0,
    expires_at timestamptz not null,
    constraint codes_pkey primary key (user_id, purpose),
    constraint codes_user_fkey foreign key (user_id) references identity.users (id) on delete cascade,
    constraint codes_purpose check (purpose in ('activation', 'reset')),
    constraint codes_hash check (octet_length(hash) = 32)
);

create index codes_expires_at on identity.codes (expires_at);

-- What a log-in begins: the family of refresh tokens that follow from it. It is revoked as a whole,
-- on this one row, so that a token which is being rotated at the same moment cannot escape.
create table identity.sessions (
    id uuid not null,
    user_id uuid not null,
    started_at timestamptz not null,
    revoked_at timestamptz,
    constraint sessions_pkey primary key (id),
    constraint sessions_user_fkey foreign key (user_id) references identity.users (id) on delete cascade
);

create index sessions_user on identity.sessions (user_id);
create index sessions_started_at on identity.sessions (started_at);

create table identity.refresh_tokens (
    -- SHA-256; the token itself is not stored
    hash bytea not null,
    session_id uuid not null,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    -- when it was exchanged for the next one; kept until it expires, to notice that it is used again
    rotated_at timestamptz,
    constraint refresh_tokens_pkey primary key (hash),
    constraint refresh_tokens_session_fkey
        foreign key (session_id) references identity.sessions (id) on delete cascade,
    constraint refresh_tokens_hash check (octet_length(hash) = 32)
);

create index refresh_tokens_session on identity.refresh_tokens (session_id);
create index refresh_tokens_expires_at on identity.refresh_tokens (expires_at);

-- How often something was tried with an address since when, whether or not anybody has it.
create table identity.attempts (
    action text not null,
    email text not null,
    made integer not null,
    since timestamptz not null,
    constraint attempts_pkey primary key (action, email),
    constraint attempts_action check (action in ('login', 'code', 'mail'))
);

create index attempts_since on identity.attempts (since);

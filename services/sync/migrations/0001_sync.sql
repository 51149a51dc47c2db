-- Reconciliation: which bucket was looked at when and by whom, and what each pass found.

-- A pass over all buckets. One is worked on at a time: those that somebody asked for go first, in
-- order, and supersede the one that goes by itself in the background.
create table sync.runs (
    id uuid not null,
    requested_at timestamptz not null,
    -- null for the one in the background
    requested_by uuid,
    -- whether the stored documents themselves are hashed again
    deep boolean not null,
    started_at timestamptz,
    finished_at timestamptz,
    superseded boolean not null default false,
    buckets_done int not null default 0,
    compared bigint not null default 0,
    missing bigint not null default 0,
    stale bigint not null default 0,
    ahead bigint not null default 0,
    extra bigint not null default 0,
    altered bigint not null default 0,
    stock bigint not null default 0,
    -- differences that were still moving and are left for the next pass
    moving bigint not null default 0,
    repaired bigint not null default 0,
    -- since when the oldest of the differences can have been there
    oldest_divergence timestamptz,
    -- DynamoDB counts in halves of a read unit
    half_read_units bigint not null default 0,
    constraint runs_pkey primary key (id)
);

-- at most one goes in the background, however many workers want to begin it
create unique index runs_background on sync.runs ((requested_by is null))
where requested_by is null and finished_at is null;
create index runs_finished_at on sync.runs (finished_at);

-- Categories that a run has met in listings; gone when it ends.
create table sync.run_categories (
    run_id uuid not null,
    category text not null,
    constraint run_categories_pkey primary key (run_id, category),
    constraint run_categories_run_fkey foreign key (run_id) references sync.runs (id)
        on delete cascade
);

create table sync.buckets (
    bucket int not null,
    -- when it was last compared to its end
    checked_at timestamptz,
    -- the run that it was last taken for, and how far that has come in it
    run_id uuid,
    done boolean not null default false,
    resume_after uuid,
    -- who has it, until when; a lease that has ended belongs to nobody
    lease uuid,
    lease_until timestamptz,
    constraint buckets_pkey primary key (bucket),
    constraint buckets_bucket check (bucket between 0 and 1023)
)
-- every row is updated several times in every pass
with (fillfactor = 50);

insert into sync.buckets (bucket) select generate_series(0, 1023);

-- Runs, who may write them, and how far they are written (docs: replay.md 8, exactly-once.md 2, 8, 10).
-- Wall-clock times live in run_clock alone, so that every other table of two equal runs is equal.

create table schema_migration (
    number int not null primary key,
    name text not null,
    sha256 text not null
);

create table run (
    run_id text collate "C" not null primary key,
    environment text not null,     -- a replay never writes into the tables of another environment's run
    created_by text not null,      -- command that created it
    code_revision text not null,
    config_hash text not null,
    config json not null,
    inputs json not null,          -- files with their content digests
    span_from timestamptz,         -- null: from the first row of the inputs
    span_to timestamptz,           -- null: to the last one
    status text not null check (status in ('running', 'complete'))
);

create table run_clock (
    run_id text collate "C" not null primary key references run,
    starts int not null,           -- how often it was started or resumed
    started_at timestamptz not null,
    finished_at timestamptz
);

-- The one writer of a run. Every transaction of the writer checks its token.
create table lease (
    environment text not null,
    run_id text collate "C" not null,
    token int8 not null,           -- raised by every takeover
    backend_pid int,               -- null: released
    backend_start timestamptz,     -- a process id alone may be used again
    primary key (environment, run_id)
);

-- Where the writer stood in each stream (noun, series) after each commit: a journal, append-only while a run is on.
-- The table of the noun holds exactly the first max(row_count) rows of the stream; digest is their chain hash.
create table mark (
    run_id text collate "C" not null,
    commit_number int8 not null,
    noun text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    row_count int8 not null,
    digest int8 not null,
    last int8 not null,            -- event time of the last row in ms; -1: none
    primary key (run_id, noun, token, venue, timeframe, commit_number)
);
create index mark_by_commit on mark (run_id, commit_number);

-- Live: several writers of one run, each with its partitions, and what they publish (docs: exactly-once.md 1, 2).

-- The one writer of a partition of a topic. Every transaction of the writer checks its token in all its units.
-- A replay has one unit for everything: topic '*', partition 0.
create table writer_unit (
    environment text collate "C" not null,
    run_id text collate "C" not null,
    topic text collate "C" not null,
    partition int4 not null,
    token int8 not null,                   -- raised by every takeover
    writer text collate "C" not null,      -- share that holds it, or held it last
    backend_pid int4,                      -- null: released
    backend_start timestamptz,             -- a process id alone may be used again
    transactional_id text collate "C",     -- of the holder's relay; null: it has none
    predecessors text[] collate "C" not null default '{}',    -- transactional ids not yet fenced by the holder's relay
    earlier_writers text[] collate "C" not null default '{}', -- writers whose outbox it has not yet looked through
    stored bool not null default false,    -- a recovery store has a state of it: starting without one is refused
    primary key (environment, run_id, topic, partition)
);
insert into writer_unit (environment, run_id, topic, partition, token, writer, backend_pid, backend_start)
    select environment, run_id, '*', 0, token, '', backend_pid, backend_start from lease;
drop table lease;

-- Who entered a mark: commits are numbered by each writer of a run for itself. A replay's writer is ''.
alter table mark add column writer text collate "C" not null default '';

-- Messages, finished: what the relay sends. Written in the transaction of the rows that they tell of.
create table outbox (
    run_id text collate "C" not null,
    writer text collate "C" not null,
    topic text collate "C" not null,
    partition int4 not null,
    noun text collate "C" not null,
    key bytea not null,
    seq int8 not null,                     -- 1, 2, 3 ... of the writer, over all its topics
    number int8 not null,                  -- 1, 2, 3 ... of the topic partition, whoever writes it
    ts int8 not null,                      -- event time, ms
    value bytea not null,                  -- framing and body
    primary key (run_id, writer, seq)
);

-- How far each partition of a topic is written.
create table target (
    run_id text collate "C" not null,
    topic text collate "C" not null,
    partition int4 not null,
    number int8 not null,                  -- of the last message; 0: none
    watermark_ms int8 not null,            -- nothing known at or before it will follow; -1: nothing promised
    primary key (run_id, topic, partition)
);

-- How far a writer's messages are in their topics, at least; written lazily. The truth is the end of the topics.
create table published (
    run_id text collate "C" not null,
    writer text collate "C" not null,
    upto int8 not null,
    primary key (run_id, writer)
);

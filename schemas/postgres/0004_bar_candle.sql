-- One table per noun: run, lane, then the columns of the record in lotus/records.py (replay.md 8).
-- Printed by `python -m connectors.postgres.ddl`. Absent values are null; NaN and infinity are refused.

-- A minute as the venue's candle has it, where the stream missed it; append-only, the newest of a minute stands.
create table bar_candle (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the minute
    sequence int8 not null,                         -- number of the candle of this minute, from 0
    known_ts timestamptz not null,                  -- watermark at which it was taken: its event time
    open float8 not null,                           -- first price [quote]
    high float8 not null,                           -- highest price [quote]
    low float8 not null,                            -- lowest price [quote]
    close float8 not null,                          -- last price [quote]
    volume float8 not null,                         -- traded value: volume_base * (high + low + close) / 3 [quote]
    volume_base float8 not null,                    -- traded amount [base]
    volume_est bool not null,                       -- volume is estimated: always
    trades int8 not null,                           -- number of trades
    replaces text collate "C" not null,             -- what it stands in for
    source text collate "C" not null,               -- where it comes from
    primary key (run_id, token, venue, timeframe, ts, sequence),
    constraint finite check (0 * (
        open + high + low + close + volume + volume_base
    ) = 0)
);

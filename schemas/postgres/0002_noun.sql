-- One table per noun: run, lane, then the columns of the record in lotus/records.py (replay.md 8).
-- Printed by `python -m connectors.postgres.ddl`. Absent values are null; NaN and infinity are refused.

-- One record per bucket of a (venue, token, timeframe): real, synthetic or gap.
create table bar (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bucket
    kind text collate "C" not null,                 -- real, synthetic or gap
    open float8,                                    -- first price [quote]
    high float8,                                    -- highest price [quote]
    low float8,                                     -- lowest price [quote]
    close float8,                                   -- last price [quote]
    volume float8,                                  -- traded value [quote]
    volume_base float8,                             -- traded amount [base]
    volume_est bool not null,                       -- volume is volume_base * (high + low + close) / 3
    trades int8,                                    -- number of trades
    buy_volume float8,                              -- value traded by aggressive buyers [quote]
    bars_used int8 not null,                        -- real bars of the source timeframe inside
    coverage float8 not null,                       -- bars_used over the full number [share]
    gap_return bool not null,                       -- first real bar after a gap: its return spans the gap
    primary key (run_id, token, venue, timeframe, ts),
    constraint finite check (0 * (
        coalesce(open, 0) + coalesce(high, 0) + coalesce(low, 0) + coalesce(close, 0) + coalesce(volume, 0)
        + coalesce(volume_base, 0) + coalesce(buy_volume, 0) + coverage
    ) = 0)
);

-- A later correction of a bar; append-only, feature flows never read it (market-data.md 5.2).
create table bar_revision (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the corrected bucket
    rev int8 not null,                              -- revision, from 1
    known_ts timestamptz not null,                  -- watermark at which the correction was made: its event time
    open float8 not null,                           -- first price [quote]
    high float8 not null,                           -- highest price [quote]
    low float8 not null,                            -- lowest price [quote]
    close float8 not null,                          -- last price [quote]
    volume float8 not null,                         -- traded value [quote]
    volume_base float8 not null,                    -- traded amount [base]
    trades int8 not null,                           -- number of trades
    buy_volume float8 not null,                     -- value traded by aggressive buyers [quote]
    primary key (run_id, token, venue, timeframe, ts, rev),
    constraint finite check (0 * (
        open + high + low + close + volume + volume_base + buy_volume
    ) = 0)
);

-- One engine record per real bar (uptrend-engine.md 9). A score or margin is absent where it is not evaluated.
create table trend (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar
    bar_index int8 not null,                        -- number of the real bar in its series, from 0 [bars]
    state text collate "C",                         -- state after this bar; absent before 333 bars
    prev_state text collate "C",                    -- state after the bar before
    s3_start_index int8,                            -- bar_index on which the running S3 began [bars]
    price float8 not null,                          -- close of the bar [quote]
    atr float8 not null,                            -- average true range, 14 bars [quote]
    atr_mean20 float8 not null,                     -- mean of the last 20 ATR values [quote]
    ema_20 float8 not null,                         -- EMA over 20 bars [quote]
    ema_30 float8 not null,                         -- EMA over 30 bars [quote]
    ema_60 float8 not null,                         -- EMA over 60 bars [quote]
    ema_144 float8 not null,                        -- EMA over 144 bars [quote]
    ema_250 float8 not null,                        -- EMA over 250 bars [quote]
    ema_333 float8 not null,                        -- EMA over 333 bars [quote]
    slope_20 float8 not null,                       -- normalised slope of EMA 20 [share per bar]
    slope_60 float8 not null,                       -- normalised slope of EMA 60 [share per bar]
    slope_144 float8 not null,                      -- normalised slope of EMA 144 [share per bar]
    slope_250 float8 not null,                      -- normalised slope of EMA 250 [share per bar]
    slope_333 float8 not null,                      -- normalised slope of EMA 333 [share per bar]
    dslope_144 float8 not null,                     -- change of slope_144 over 10 bars [share per bar]
    dsep_fast float8 not null,                      -- 5-bar change of (EMA20 - EMA60) / EMA60 [share]
    dsep_mid float8 not null,                       -- 5-bar change of (EMA60 - EMA144) / EMA144 [share]
    rsi float8 not null,                            -- RSI, 14 bars, simple average [points]
    rsi_slope float8 not null,                      -- slope of the last 10 RSI values [points per bar]
    adx float8 not null,                            -- ADX, 14 bars, Wilder [points]
    adx_slope float8 not null,                      -- slope of the last 10 ADX values [points per bar]
    vo_z float8,                                    -- volume z-score; S3 only [sigma]
    flag_s1_buy bool not null,                      -- entry zone around EMA60
    flag_s2_buy bool not null,                      -- retest zone around EMA333
    flag_dx_buy bool not null,                      -- discount between EMA333 and EMA144
    flag_trim bool not null,                        -- overextended at a level
    flag_emergency_exit bool not null,              -- price below EMA333 in S3, or a structural exit
    flag_reclaimed_ema333 bool not null,            -- back above EMA333 after an emergency
    flag_exit_position bool not null,               -- structural exit
    flag_buy bool not null,                         -- s1_buy or s2_buy or dx_buy
    exit_reason text collate "C",                   -- why exit_position
    score_ts float8,                                -- trend strength [0..1]
    score_ox float8,                                -- overextension; S2 and S3 [0..1]
    score_dx float8,                                -- discount; S3 [0..1]
    score_edx float8,                               -- trend decay; S3 [0..0.85]
    boost float8,                                   -- S/R boost at the anchor of the buy gate [0..0.25]
    tsb float8,                                     -- score_ts + boost
    dx_threshold float8,                            -- what score_dx has to reach; S3
    dx_suppression float8,                          -- raise of the threshold by decay; S3
    dx_position_boost float8,                       -- easing of the threshold near EMA333; S3
    edx_slow float8,                                -- EDX component slow, windows combined; S3 from bar 10 [0..1]
    edx_slow_1 float8,                              -- EDX component slow, window 1 [0..1]
    edx_slow_2 float8,                              -- EDX component slow, window 2 [0..1]
    edx_slow_3 float8,                              -- EDX component slow, window 3 [0..1]
    edx_struct float8,                              -- EDX component struct, windows combined; S3 from bar 10 [0..1]
    edx_struct_1 float8,                            -- EDX component struct, window 1 [0..1]
    edx_struct_2 float8,                            -- EDX component struct, window 2 [0..1]
    edx_struct_3 float8,                            -- EDX component struct, window 3 [0..1]
    edx_part float8,                                -- EDX component part, windows combined; S3 from bar 10 [0..1]
    edx_part_1 float8,                              -- EDX component part, window 1 [0..1]
    edx_part_2 float8,                              -- EDX component part, window 2 [0..1]
    edx_part_3 float8,                              -- EDX component part, window 3 [0..1]
    edx_comp float8,                                -- EDX component comp, windows combined; S3 from bar 10 [0..1]
    edx_comp_1 float8,                              -- EDX component comp, window 1 [0..1]
    edx_comp_2 float8,                              -- EDX component comp, window 2 [0..1]
    edx_comp_3 float8,                              -- EDX component comp, window 3 [0..1]
    zone_ok bool not null,                          -- the buy gate of the state is evaluated and price is in its zone
    slope_ok bool not null,                         -- the buy gate of the state is evaluated and its slopes pass
    margin_zone float8,                             -- halo - |price - anchor|; in S3 the smaller distance to a zone edge [quote]
    margin_slope float8,                            -- larger of the two slopes of the buy gate [share per bar]
    margin_tsb float8,                              -- tsb - threshold
    margin_dx float8,                               -- score_dx - dx_threshold
    margin_ox float8,                               -- score_ox - threshold, where trim is evaluated
    margin_level float8,                            -- halo - distance to the nearest level, where trim is evaluated [quote]
    nearest_level float8,                           -- level closest to price; absent without levels [quote]
    levels_version int8,                            -- bar_index of the last close in the level set [bars]
    primary key (run_id, token, venue, timeframe, ts),
    constraint finite check (0 * (
        price + atr + atr_mean20 + ema_20 + ema_30 + ema_60 + ema_144 + ema_250 + ema_333 + slope_20
        + slope_60 + slope_144 + slope_250 + slope_333 + dslope_144 + dsep_fast + dsep_mid + rsi + rsi_slope
        + adx + adx_slope + coalesce(vo_z, 0) + coalesce(score_ts, 0) + coalesce(score_ox, 0)
        + coalesce(score_dx, 0) + coalesce(score_edx, 0) + coalesce(boost, 0) + coalesce(tsb, 0)
        + coalesce(dx_threshold, 0) + coalesce(dx_suppression, 0) + coalesce(dx_position_boost, 0)
        + coalesce(edx_slow, 0) + coalesce(edx_slow_1, 0) + coalesce(edx_slow_2, 0)
        + coalesce(edx_slow_3, 0) + coalesce(edx_struct, 0) + coalesce(edx_struct_1, 0)
        + coalesce(edx_struct_2, 0) + coalesce(edx_struct_3, 0) + coalesce(edx_part, 0)
        + coalesce(edx_part_1, 0) + coalesce(edx_part_2, 0) + coalesce(edx_part_3, 0)
        + coalesce(edx_comp, 0) + coalesce(edx_comp_1, 0) + coalesce(edx_comp_2, 0)
        + coalesce(edx_comp_3, 0) + coalesce(margin_zone, 0) + coalesce(margin_slope, 0)
        + coalesce(margin_tsb, 0) + coalesce(margin_dx, 0) + coalesce(margin_ox, 0)
        + coalesce(margin_level, 0) + coalesce(nearest_level, 0)
    ) = 0)
);

-- A and E of one bar of a traded series, with their terms (posture.md 1, 11).
create table posture (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar
    a float8 not null,                              -- aggressiveness [0..1]
    e float8 not null,                              -- exitness [0..1]
    mode_a text collate "C" not null,               -- band of A
    mode_e text collate "C" not null,               -- band of E
    terms json not null,                            -- what A and E are made of, in the order in which it sums
    sentence text collate "C" not null,             -- the change since the bar before, for people
    primary key (run_id, token, venue, timeframe, ts),
    constraint finite check (0 * (
        a + e
    ) = 0)
);

-- One intent sent (scaling.md 12).
create table decision (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the decision bar
    kind text collate "C" not null,                 -- what to do
    usd numeric,                                    -- amount of a buy [quote]
    fraction numeric,                               -- share of the quantity to sell [share]
    price float8 not null,                          -- close of the decision bar [quote]
    atr float8 not null,                            -- ATR of the decision bar [quote]
    state text collate "C" not null,                -- engine state; of a structural exit the state left
    bar_index int8 not null,                        -- engine bar [bars]
    nearest_level float8,                           -- nearest level [quote]
    a float8 not null,                              -- aggressiveness [0..1]
    e float8 not null,                              -- exitness [0..1]
    mode_a text collate "C" not null,               -- band of A
    mode_e text collate "C" not null,               -- band of E
    pattern_key text collate "C" not null,          -- family.state.motif
    category text collate "C" not null,             -- entry, add, trim or exit
    reasons json not null,                          -- every gate with its operands; the factors and limits of the size; the pool
    sentence text collate "C" not null,             -- why A and E are what they are
    primary key (run_id, token, venue, timeframe, ts, kind),
    constraint finite check (0 * (
        price + atr + coalesce(nearest_level, 0) + a + e
    ) = 0)
);

-- A flag was raised and its intent was not sent (replay.md 8).
create table refusal (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar
    kind text collate "C" not null,                 -- what would have been done
    gate text collate "C" not null,                 -- first failing gate in spec order, or precedence
    operands json not null,                         -- what the gate compared
    margin float8,                                  -- value - threshold, below 0 fails; absent for yes/no gates
    primary key (run_id, token, venue, timeframe, ts, kind),
    constraint finite check (0 * (
        coalesce(margin, 0)
    ) = 0)
);

-- One execution of an intent (scaling.md 12, replay.md 6).
create table fill (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar at whose end it happened
    kind text collate "C" not null,                 -- kind of the intent
    sequence int8 not null,                         -- number of the fill within its bar and kind
    fill_id text collate "C" not null,              -- identity; a second fill with it changes nothing
    usd numeric not null,                           -- cash out of a buy, cash in of a sell, both with fee [quote]
    qty numeric not null,                           -- tokens bought or sold [base]
    price numeric not null,                         -- execution price [quote]
    fee numeric not null,                           -- fee inside usd [quote]
    state text collate "C" not null,                -- engine state of the intent
    primary key (run_id, token, venue, timeframe, ts, kind, sequence)
);

-- The position record after a bar on which it changed (scaling.md 2).
create table position (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar
    status text collate "C" not null,               -- status
    qty numeric not null,                           -- tokens held [base]
    general_buys numeric not null,                  -- G: spent on S1 and flat S2 this cycle [quote]
    buys numeric not null,                          -- spent on all buys this cycle [quote]
    sells numeric not null,                         -- received from all sells this cycle [quote]
    locked numeric not null,                        -- trim proceeds that stay out this cycle [quote]
    pool_status text collate "C" not null,          -- trim pool
    pool_basis numeric not null,                    -- trim proceeds open to recovery [quote]
    pool_redeployed numeric not null,               -- spent by DX buys of this pool [quote]
    pool_dx_count int8 not null,                    -- DX buys of this pool
    pool_next_arm float8,                           -- price of the next DX rung [quote]
    exit_value numeric,                             -- value at the last emergency exit [quote]
    rebuy_used bool not null,                       -- the reclaim right of that exit is used
    attempt_active bool not null,                   -- an attempt is running
    blocked_s1 bool not null,                       -- S1 entries are blocked
    blocked_s2 bool not null,                       -- S2 buys are blocked
    primary key (run_id, token, venue, timeframe, ts),
    constraint finite check (0 * (
        coalesce(pool_next_arm, 0)
    ) = 0)
);

-- An S1, S2 or DX episode whose outcome became known (scaling.md 10.5, replay.md 8).
create table episode (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    ts timestamptz not null,                        -- start of the bar on which the outcome became known
    kind text collate "C" not null,                 -- what was observed
    started_ts timestamptz not null,                -- start of the bar on which it began
    acted bool not null,                            -- entered by a fill
    succeeded bool not null,                        -- reached S3, or for DX a trim followed
    outcome text collate "C" not null,              -- decision and result
    zone_bars int8 not null,                        -- bars on which the entry zone was open [bars]
    best_ts timestamptz,                            -- zone bar whose smallest gate margin was largest
    best_margins json,                              -- gate margins of that bar
    primary key (run_id, token, venue, timeframe, ts, kind)
);

-- Rejected input rows.
create table dead_letter (
    run_id text collate "C" not null,
    token text collate "C" not null,
    venue text collate "C" not null,
    timeframe text collate "C" not null,
    source text collate "C" not null,               -- file or topic
    position int8 not null,                         -- row number from 0, or offset
    reason text collate "C" not null,               -- why it was rejected
    row json not null,                              -- the row as it came
    primary key (run_id, source, position)
);

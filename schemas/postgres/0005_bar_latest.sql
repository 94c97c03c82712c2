-- The stored bars as people want them: the candle where one stands in for a minute, else the newest revision, else the
-- bar (market-data.md 5.2, 9). Features and decisions are made of `bar` alone.
--
-- rev       number of the correction in its layer, from 1; 0: the bar as it was emitted
-- source    ticks, ffill (first missing bucket), or the candle's
-- known_ts  when the correction was made; null: at the end of the bar
create view bar_latest as
select distinct on (run_id, token, venue, timeframe, ts)
    run_id, token, venue, timeframe, ts, open, high, low, close, volume, volume_base, volume_est,
    trades, buy_volume, synthetic, rev, source, known_ts
from (
    select run_id, token, venue, timeframe, ts, open, high, low, close, volume, volume_base, volume_est,
        trades, buy_volume, kind = 'synthetic' as synthetic, 0 as rev,
        case kind when 'synthetic' then 'ffill' else 'ticks' end as source, null::timestamptz as known_ts, 0 as layer
    from bar
    union all
    select run_id, token, venue, timeframe, ts, open, high, low, close, volume, volume_base, false,
        trades, buy_volume, false, rev, 'ticks', known_ts, 1
    from bar_revision
    union all
    select run_id, token, venue, timeframe, ts, open, high, low, close, volume, volume_base, volume_est,
        trades, null, false, sequence + 1, source, known_ts, 2
    from bar_candle
) as stored
order by run_id, token, venue, timeframe, ts, layer desc, rev desc;

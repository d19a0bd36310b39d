-- @query newest_candles
-- @about Newest revision of every candle of a source, without bars that were found to be single spikes later.
select
    c.date,
    c.symbol,
    c.source,
    c.open_usd,
    c.high_usd,
    c.low_usd,
    c.close_usd,
    c.volume,
    c.volume_unit,
    c.is_known_at_assumed
from candle as c
where
    c.source = $source
    and not exists (
        select 1 from candle_quarantine as q
        where
            q.date = c.date
            and q.symbol = c.symbol
            and q.source = c.source
            and q.reason = 'reverting_spike'
            and q.close_usd is not distinct from c.close_usd
            and q.low_usd is not distinct from c.low_usd
            and q.high_usd is not distinct from c.high_usd
    )
qualify row_number() over (
    partition by c.date, c.symbol, c.source
    order by c.revision desc
) = 1
order by c.symbol, c.date

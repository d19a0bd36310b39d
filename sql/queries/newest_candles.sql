-- @query newest_candles
-- @about Newest revision of every candle of a source; a day whose newest value was found to be a single spike is left out.
with newest as (
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
    qualify row_number() over (
            partition by c.date, c.symbol, c.source
            order by c.revision desc
        ) = 1
)

select
    n.date,
    n.symbol,
    n.source,
    n.open_usd,
    n.high_usd,
    n.low_usd,
    n.close_usd,
    n.volume,
    n.volume_unit,
    n.is_known_at_assumed
from newest as n
where
    not exists (
        select 1 from candle_quarantine as q
        where
            q.date = n.date
            and q.symbol = n.symbol
            and q.source = n.source
            and q.reason = 'reverting_spike'
            and q.close_usd is not distinct from n.close_usd
            and q.low_usd is not distinct from n.low_usd
            and q.high_usd is not distinct from n.high_usd
    )
order by n.symbol, n.date

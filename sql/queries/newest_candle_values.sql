-- @query newest_candle_values
-- @about Newest revision of every candle of a source from a day on.
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
    and c.date >= cast($first as date)
qualify row_number() over (
        partition by c.date, c.symbol, c.source
        order by c.revision desc
    ) = 1
order by c.symbol, c.date

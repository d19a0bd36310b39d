-- @query newest_candle_hour_values
-- @about Newest revision of every hourly candle of a source from an hour on.
select
    c.start_at,
    c.symbol,
    c.source,
    c.open_usd,
    c.high_usd,
    c.low_usd,
    c.close_usd,
    c.volume,
    c.volume_unit
from candle_hour as c
where
    c.source = $source
    and c.start_at >= cast($first as timestamp)
qualify row_number() over (
        partition by c.start_at, c.symbol, c.source
        order by c.revision desc
    ) = 1
order by c.symbol, c.start_at

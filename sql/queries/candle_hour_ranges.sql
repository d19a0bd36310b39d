-- @query candle_hour_ranges
-- @about High and low of every hourly candle up to a day, newest revision, every source.
select
    symbol,
    source,
    start_at,
    high_usd,
    low_usd
from candle_hour
where
    start_at < cast($last as date) + interval 1 day
    and high_usd is not null
    and low_usd is not null
qualify row_number() over (
        partition by start_at, symbol, source
        order by revision desc
    ) = 1
order by symbol, source, start_at

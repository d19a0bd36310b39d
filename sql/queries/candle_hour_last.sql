-- @query candle_hour_last
-- @about Newest hour of every market of every source that has brought hourly candles.
select
    source,
    symbol,
    max(start_at) as last_at
from candle_hour
group by source, symbol
order by source, symbol

-- @query candle_last_days
-- @about Newest day of every market of every source that has brought candles.
select
    source,
    symbol,
    max(date) as last_date
from candle
group by source, symbol
order by source, symbol

-- @query revised_bars
-- @about Bars from a day on whose value changed after it was first given, and when it first did.
select
    date,
    symbol,
    source,
    min(known_at) as known_at
from candle
where
    date >= $first
    and revision > 1
group by date, symbol, source
order by symbol, source, date

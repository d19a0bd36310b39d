-- @query quarantine_hour_keys
-- @about What is in the quarantine of hourly candles already: the same row of the same market is not set aside twice.
select distinct
    start_at,
    symbol,
    source,
    reason,
    detail
from candle_hour_quarantine
where source = $source
order by symbol, start_at, reason, detail

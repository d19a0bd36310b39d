-- @query quarantine_keys
-- @about What is in quarantine already: the same row of the same market is not set aside twice.
select distinct
    date,
    symbol,
    source,
    reason,
    detail
from candle_quarantine
where source = $source
order by symbol, date, reason, detail

-- @query quarantine
-- @about Rows set aside up to a day, newest first; the source's own days without a quotation left out.
select
    date,
    symbol,
    source,
    row_number,
    reason,
    detail,
    open_usd,
    high_usd,
    low_usd,
    close_usd,
    volume,
    source_sha256
from candle_quarantine
where
    coalesce(date, date '1970-01-01') <= $last
    and reason <> 'no_quote'
order by date desc, symbol asc, source asc, row_number asc, reason asc

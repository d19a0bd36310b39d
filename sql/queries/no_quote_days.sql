-- @query no_quote_days
-- @about Days that a source itself marks as without a quotation.
select distinct
    symbol,
    date
from candle_quarantine
where
    source = $source
    and reason = 'no_quote'
    and date is not null
order by symbol, date

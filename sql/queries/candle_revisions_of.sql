-- @query candle_revisions_of
-- @about Every value that a source gave for a market's days, the first seen first.
select
    date,
    symbol,
    source,
    open_usd,
    high_usd,
    low_usd,
    close_usd,
    volume,
    volume_unit,
    revision,
    known_at,
    is_known_at_assumed
from candle
where
    symbol = $symbol
    and source = $source
    and date between $first and $last
order by date, revision

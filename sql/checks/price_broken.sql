-- @check price_broken
-- @about Prices are positive and ordered, and each day follows the one before.
select
    date,
    symbol,
    open_usd,
    high_usd,
    low_usd,
    close_usd
from price
where
    date <= $last
    and (
        not close_usd > 0
        or high_usd < low_usd
        or high_usd < close_usd * (1 - 1e-9)
        or low_usd > close_usd * (1 + 1e-9)
        or (bar_number > 1 and previous_close_usd is null)
    )
order by date, symbol

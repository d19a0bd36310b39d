-- @check price_broken
-- @about Prices are positive and ordered, and each bar names the close of the bar before it.
with chained as (
    select
        p.date,
        p.symbol,
        p.open_usd,
        p.high_usd,
        p.low_usd,
        p.close_usd,
        p.previous_close_usd,
        p.bar_number,
        lag(p.close_usd) over (partition by p.symbol order by p.date) as close_before,
        row_number() over (partition by p.symbol order by p.date) as bars_so_far
    from price as p
    where p.date <= $last
)

select
    date,
    symbol,
    open_usd,
    high_usd,
    low_usd,
    close_usd,
    previous_close_usd,
    bar_number
from chained
where
    not close_usd > 0
    or not open_usd > 0
    or not low_usd > 0
    or high_usd < greatest(open_usd, low_usd, close_usd) * (1 - 1e-9)
    or low_usd > least(open_usd, close_usd) * (1 + 1e-9)
    or previous_close_usd is distinct from close_before
    or bar_number <> bars_so_far
order by date, symbol

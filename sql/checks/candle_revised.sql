-- @check candle_revised
-- @about No bar of the last thirty days was changed afterwards by more than one percent.
with ends as (
    select
        date,
        symbol,
        source,
        arg_min(close_usd, revision) as first_close_usd,
        arg_max(close_usd, revision) as last_close_usd
    from candle
    where
        date <= $last
        and date > cast($last as date) - interval 30 day
    group by date, symbol, source
)

select
    date,
    symbol,
    source,
    first_close_usd,
    last_close_usd,
    round(100 * (last_close_usd / first_close_usd - 1), 2) as change_percent
from ends
where abs(last_close_usd / first_close_usd - 1) > 0.01
order by date, symbol, source

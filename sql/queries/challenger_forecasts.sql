-- @query challenger_forecasts
-- @about Newest revision of what every model said, between two days. Rows from a bar that was refused since, or toward one that is not the next any more, are left out.
with bars as (
    select
        symbol,
        date,
        lead(date) over (partition by symbol order by date) as next_on
    from price
)

select
    as_of,
    target_date,
    symbol,
    side,
    model,
    methodology,
    config_hash,
    revision,
    vintage,
    quantile_p500_log,
    quantile_p100_log,
    quantile_p50_log,
    shortfall_p500_log,
    shortfall_p100_log,
    shortfall_p50_log,
    sigma_daily,
    note,
    input_hash
from challenger_forecast
where
    as_of >= $first
    and as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and exists (
        select 1
        from bars as b
        where
            b.symbol = challenger_forecast.symbol
            and b.date = challenger_forecast.as_of
            and (b.next_on is null or b.next_on = challenger_forecast.target_date)
    )
qualify row_number() over (
        partition by as_of, target_date, symbol, side, model
        order by revision desc
    ) = 1
order by target_date, symbol, side, model

-- @query forecasts
-- @about Newest revision of every forecast known at a day. Rows from a bar that was refused since, or toward one that is not the next any more, are left out.
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
    model,
    methodology,
    config_hash,
    revision,
    vintage,
    mu_daily,
    sigma_daily,
    sigma_long_run_daily,
    sigma_eff_daily,
    nu,
    rung,
    fit_end,
    return_count,
    input_hash
from volatility_forecast
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and exists (
        select 1
        from bars as b
        where
            b.symbol = volatility_forecast.symbol
            and b.date = volatility_forecast.as_of
            and (b.next_on is null or b.next_on = volatility_forecast.target_date)
    )
qualify row_number() over (
        partition by as_of, target_date, symbol, model
        order by revision desc
    ) = 1
order by symbol, target_date

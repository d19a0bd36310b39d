-- @query forecasts
-- @about Newest revision of every forecast known at a day.
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
qualify row_number() over (
        partition by as_of, target_date, symbol, model
        order by revision desc
    ) = 1
order by symbol, target_date

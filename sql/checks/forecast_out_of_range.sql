-- @check forecast_out_of_range
-- @about A forecast speaks about a later day than its data, with a volatility between 0 and 100 % a day.
select
    as_of,
    target_date,
    symbol,
    sigma_daily,
    sigma_eff_daily
from volatility_forecast
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and (
        target_date <= as_of
        or not sigma_daily > 0
        or sigma_daily > 1
        or sigma_eff_daily < sigma_daily
    )
order by as_of, symbol

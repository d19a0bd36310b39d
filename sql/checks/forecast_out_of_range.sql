-- @check forecast_out_of_range
-- @about A forecast speaks about a later day than its data; volatility is a number, never negative, and the budget's is no smaller. What is zero or beyond belief gets no threshold (plimsoll.budget), which is no reason to withhold other markets.
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
        or not sigma_daily >= 0
        or isnan(sigma_daily)
        or isinf(sigma_daily)
        or sigma_eff_daily < sigma_daily
    )
order by as_of, symbol

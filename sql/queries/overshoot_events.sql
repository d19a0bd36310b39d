-- @query overshoot_events
-- @about Newest revision of every trigger event up to a day.
select
    target_date,
    symbol,
    side,
    trigger_depth,
    methodology,
    config_hash,
    revision,
    trigger_price_usd,
    extreme_price_usd,
    sigma_daily,
    sigma_eff_daily,
    overshoot_log,
    overshoot_sigma,
    input_hash
from overshoot_event
where
    target_date <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by target_date, symbol, side, trigger_depth
        order by revision desc
    ) = 1
order by target_date, symbol, side, trigger_depth

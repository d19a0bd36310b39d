-- @query overshoot_events
-- @about Newest revision of every trigger event up to a day. Those of a bar that was refused since are left out.
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
    and exists (
        select 1
        from price as p
        where
            p.symbol = overshoot_event.symbol
            and p.date = overshoot_event.target_date
    )
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by target_date, symbol, side, trigger_depth
        order by revision desc
    ) = 1
order by target_date, symbol, side, trigger_depth

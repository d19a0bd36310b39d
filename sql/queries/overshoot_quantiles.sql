-- @query overshoot_quantiles
-- @about Newest revision of every overshoot quantile up to a day.
select
    as_of,
    target_date,
    symbol,
    side,
    trigger_depth,
    methodology,
    config_hash,
    revision,
    vintage,
    own_triggers,
    pooled_triggers,
    pooled_dates,
    k_own_p500,
    k_own_p100,
    k_own_p50,
    k_own_p10,
    k_pooled_p500,
    k_pooled_p100,
    k_pooled_p50,
    k_pooled_p10,
    k_p500,
    k_p100,
    k_p50,
    k_p10,
    own_weight_p100,
    gpd_threshold_sigma,
    gpd_xi,
    gpd_beta_sigma,
    gpd_method,
    buffer_perp_sigma,
    buffer_lending_sigma,
    input_hash
from overshoot_quantile
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by as_of, target_date, symbol, side, trigger_depth
        order by revision desc
    ) = 1
order by symbol, target_date, side, trigger_depth

-- @query overshoot_quantiles
-- @about Newest revision of every overshoot quantile up to a day. Rows from a bar that was refused since, or toward one that is not the next any more, are left out.
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
    and exists (
        select 1
        from bars as b
        where
            b.symbol = overshoot_quantile.symbol
            and b.date = overshoot_quantile.as_of
            and (b.next_on is null or b.next_on = overshoot_quantile.target_date)
    )
qualify row_number() over (
        partition by as_of, target_date, symbol, side, trigger_depth
        order by revision desc
    ) = 1
order by symbol, target_date, side, trigger_depth

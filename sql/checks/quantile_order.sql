-- @check quantile_order
-- @about A rarer overshoot is at least as large: k does not fall as the tail probability falls.
select
    as_of,
    symbol,
    side,
    trigger_depth,
    k_p500,
    k_p100,
    k_p50,
    k_p10
from overshoot_quantile
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and (
        k_p500 > k_p100 + 1e-9
        or k_p100 > k_p50 + 1e-9
        or k_pooled_p50 > k_pooled_p10 + 1e-9
    )
order by as_of, symbol, side, trigger_depth

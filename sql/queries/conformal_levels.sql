-- @query conformal_levels
-- @about Newest revision of the overlay's log up to a day.
select
    as_of,
    symbol,
    side,
    model,
    methodology,
    config_hash,
    revision,
    judged,
    alpha_p500,
    alpha_p100,
    alpha_p50,
    is_held,
    input_hash
from conformal_level
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by as_of, symbol, side, model
        order by revision desc
    ) = 1
order by as_of, symbol, side, model

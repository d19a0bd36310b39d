-- @query recommendations_of
-- @about Newest revision of the recommendations of one day.
select
    as_of,
    symbol,
    product,
    side,
    parameter,
    methodology,
    config_hash,
    revision,
    vintage,
    in_force,
    target,
    proposed,
    status,
    reason,
    implied_probability,
    implied_note,
    input_hash
from recommendation
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, product, side, parameter
        order by revision desc
    ) = 1
order by symbol, product, side, parameter

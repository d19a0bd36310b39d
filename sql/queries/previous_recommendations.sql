-- @query previous_recommendations
-- @about Recommendations of the last earlier day that has any, newest revision.
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
where as_of = (
    select max(r.as_of) from recommendation as r
    where r.as_of < $as_of
)
qualify row_number() over (
    partition by symbol, product, side, parameter
    order by revision desc
) = 1
order by symbol, product, side, parameter

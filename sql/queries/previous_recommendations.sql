-- @query previous_recommendations
-- @about Recommendations of the last earlier day that has any, newest revision.
with earlier as (
    select max(as_of) as last_as_of
    from recommendation
    where as_of < $as_of
)

select
    r.as_of,
    r.symbol,
    r.product,
    r.side,
    r.parameter,
    r.methodology,
    r.config_hash,
    r.revision,
    r.vintage,
    r.in_force,
    r.target,
    r.proposed,
    r.status,
    r.reason,
    r.implied_probability,
    r.implied_note,
    r.input_hash
from recommendation as r
inner join earlier as e on r.as_of = e.last_as_of
qualify row_number() over (
        partition by r.symbol, r.product, r.side, r.parameter
        order by r.revision desc
    ) = 1
order by r.symbol, r.product, r.side, r.parameter

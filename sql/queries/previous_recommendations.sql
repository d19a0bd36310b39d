-- @query previous_recommendations
-- @about Recommendations behind the newest report of an earlier day, newest revision; others of that day, made under another configuration or method, are no part of it.
with earlier as (
    select
        as_of,
        methodology,
        config_hash
    from report
    where as_of < $as_of
    qualify row_number() over (
            order by as_of desc, revision desc
        ) = 1
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
inner join earlier as e
    on
        r.as_of = e.as_of
        and r.methodology = e.methodology
        and r.config_hash = e.config_hash
qualify row_number() over (
        partition by r.symbol, r.product, r.side, r.parameter
        order by r.revision desc
    ) = 1
order by r.symbol, r.product, r.side, r.parameter

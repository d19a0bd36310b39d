-- @query publications_of
-- @about What may be published on a day, newest revision.
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
    venue,
    venue_parameter,
    outcome,
    in_force,
    target,
    destination,
    published,
    status,
    steps,
    converges_on,
    days_looser,
    reason,
    input_hash
from publication
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, product, side, parameter
        order by revision desc
    ) = 1
order by symbol, product, side, parameter

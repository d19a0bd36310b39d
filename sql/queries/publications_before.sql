-- @query publications_before
-- @about Where each set was going on the newest day before a day that says so: newest revisions, one row a parameter.
with newest as (
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
        as_of < $day
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by as_of, symbol, product, side, parameter
            order by revision desc
        ) = 1
)

select
    as_of,
    symbol,
    product,
    side,
    parameter,
    in_force,
    destination,
    published
from newest
where destination is not null
qualify rank() over (
        partition by symbol, product, side
        order by as_of desc
    ) = 1
order by symbol, product, side, parameter

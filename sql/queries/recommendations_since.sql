-- @query recommendations_since
-- @about Leading parameters recommended from one day to another, newest revision, beside what the budget then carried.
with newest as (
    select
        as_of,
        symbol,
        product,
        side,
        parameter,
        in_force,
        target,
        status
    from recommendation
    where
        as_of between $first and $last
        and methodology = $methodology
        and config_hash = $config_hash
        and parameter in ('lt', 'mm')
    qualify row_number() over (
            partition by as_of, symbol, product, side, parameter
            order by revision desc
        ) = 1
),

carried as (
    select
        as_of,
        symbol,
        product,
        side,
        trigger_depth,
        absorbed_move,
        horizon_hours,
        eta,
        lambda_slippage,
        oracle_error
    from threshold
    where
        as_of between $first and $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by as_of, symbol, product, side
            order by revision desc, target_date desc
        ) = 1
)

select
    n.as_of,
    n.symbol,
    n.product,
    n.side,
    n.parameter,
    n.in_force,
    n.target,
    n.status,
    c.trigger_depth,
    c.absorbed_move,
    c.horizon_hours,
    c.eta,
    c.lambda_slippage,
    c.oracle_error
from newest as n
inner join carried as c
    on n.as_of = c.as_of and n.symbol = c.symbol and n.product = c.product and n.side = c.side
order by n.as_of, n.symbol, n.product, n.side

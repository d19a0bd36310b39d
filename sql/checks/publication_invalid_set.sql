-- @check publication_invalid_set
-- @about What is published holds together as one set, is whole, and lies between what is in force and where its walk goes: LTV below LT, LT x (1 + bonus) at most 1, initial above maintenance margin.
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
        as_of <= $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by as_of, symbol, product, side, parameter
            order by revision desc
        ) = 1
),

sets as (
    select
        as_of,
        symbol,
        product,
        side,
        min(outcome) as outcome,
        count(distinct outcome) as outcomes,
        count(published) as given,
        count(*) as listed,
        max(published) filter (where parameter = 'lt') as lt_bps,
        max(published) filter (where parameter = 'ltv') as ltv_bps,
        max(published) filter (where parameter = 'bonus') as bonus_bps,
        max(published) filter (where parameter = 'liquidation_factor') as factor_bps,
        max(published) filter (where parameter = 'mm') as mm_bps,
        max(published) filter (where parameter = 'im') as im_bps,
        count(*) filter (
            where
            in_force is not null
            and (
                published < least(in_force, coalesce(destination, in_force))
                or published > greatest(in_force, coalesce(destination, in_force))
            )
        ) as beyond
    from newest
    group by as_of, symbol, product, side
)

select
    as_of,
    symbol,
    product,
    side,
    outcome,
    lt_bps,
    ltv_bps,
    bonus_bps,
    factor_bps,
    mm_bps,
    im_bps,
    given,
    listed,
    beyond
from sets
where
    outcomes > 1
    or beyond > 0
    or ltv_bps >= lt_bps
    or lt_bps >= factor_bps
    or lt_bps * (10000 + bonus_bps) > 100000000
    or im_bps <= mm_bps
    or (outcome in ('published', 'new', 'unchanged') and given < listed)
    or (outcome not in ('published', 'new', 'unchanged') and given > 0)
order by as_of, symbol, product, side

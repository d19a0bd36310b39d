-- @check reference_disagrees
-- @about The fit in use of each market agrees with arch on the same window; a comparison that is missing fails as well. Rungs that arch does not have are not compared.
with in_use as (
    select
        symbol,
        model,
        fit_end,
        rung,
        input_hash
    from volatility_fit
    where
        fit_end <= $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by symbol, model
            order by fit_end desc, revision desc
        ) = 1
),

compared as (
    select
        symbol,
        model,
        fit_end,
        input_hash,
        objection
    from fit_reference
    where
        fit_end <= $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by symbol, model, fit_end
            order by revision desc
        ) = 1
)

select
    in_use.symbol,
    in_use.fit_end,
    in_use.rung,
    coalesce(compared.objection, 'not compared with arch; run fit_reference of this day') as objection
from in_use
left join compared
    on
        in_use.symbol = compared.symbol
        and in_use.model = compared.model
        and in_use.fit_end = compared.fit_end
        and in_use.input_hash = compared.input_hash
where
    in_use.rung not in ('garch_t_targeted', 'ewma')
    and coalesce(compared.objection, 'missing') <> ''
order by in_use.symbol

-- @query refusals
-- @about Fits of the last 365 days up to a day that did not stand on the rung asked for, counted by the first refusal without its numbers.
with newest as (
    select
        symbol,
        model,
        fit_end,
        rung,
        gate_note
    from volatility_fit
    where
        fit_end <= $last
        and fit_end > cast($last as date) - interval 365 day
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by fit_end, symbol, model
            order by revision desc
        ) = 1
)

select
    symbol,
    rung,
    trim(
        regexp_replace(regexp_replace(split_part(gate_note, ';', 1), '^[a-z_]+: ', ''), '[-+]?[0-9.]+', 'x', 'g')
    ) as refusal,
    count(*) as fits,
    max(fit_end) as newest
from newest
where rung <> model
group by all
order by symbol asc, fits desc, rung asc, refusal asc

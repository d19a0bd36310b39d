-- @query fit_health
-- @about Health of all fits of each market up to a day, and of those of its last 365 days: shares of fits on the rung asked for, of integrated fits, of fits on a constraint and with a second optimum within two of log-likelihood, and the middle of persistence, half-life and degrees of freedom.
with newest as (
    select
        symbol,
        model,
        fit_end,
        rung,
        is_igarch,
        limits,
        optimum_gap,
        persistence,
        half_life_days,
        nu,
        ljung_box_p
    from volatility_fit
    where
        fit_end <= $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by fit_end, symbol, model
            order by revision desc
        ) = 1
),

spans as (
    select
        'all' as span,
        newest.*
    from newest
    union all
    select
        'year' as span,
        newest.*
    from newest
    where fit_end > cast($last as date) - interval 365 day
)

select
    symbol,
    span,
    count(*) as fits,
    avg(cast(rung = model as double)) as first_rung_share,
    avg(cast(is_igarch as double)) filter (where rung <> 'ewma') as igarch_share,
    avg(cast(limits <> '' as double)) filter (where rung <> 'ewma') as limit_share,
    avg(cast(coalesce(optimum_gap < 2, false) as double)) filter (where rung <> 'ewma') as second_optimum_share,
    median(persistence) filter (where rung <> 'ewma') as persistence_median,
    median(half_life_days) as half_life_median,
    min(nu) as nu_least,
    median(nu) as nu_median,
    avg(cast(ljung_box_p < 0.01 as double)) as unexplained_share
from spans
group by symbol, span
order by symbol, span

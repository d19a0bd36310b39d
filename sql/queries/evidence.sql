-- @query evidence
-- @about Newest revision of every fact by which the overshoot estimate in use is watched: triggers judged at one percent. Those of a bar that was refused since are left out.
select
    target_date,
    symbol,
    side,
    series,
    is_breach
from breach
where
    target_date <= $last
    and exists (
        select 1
        from price as p
        where
            p.symbol = breach.symbol
            and p.date = breach.target_date
    )
    and methodology = $methodology
    and config_hash = $config_hash
    and model = 'estimator'
    and tail_probability_bps = 100
    and series in ('overshoot_24h', 'overshoot_24h_deep')
qualify row_number() over (
        partition by target_date, symbol, side, series
        order by revision desc
    ) = 1
order by target_date, symbol, side, series

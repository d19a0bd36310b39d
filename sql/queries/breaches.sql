-- @query breaches
-- @about Newest revision of every breach fact up to a day. Those of a bar that was refused since are left out.
select
    target_date,
    symbol,
    side,
    series,
    model,
    tail_probability_bps,
    methodology,
    config_hash,
    revision,
    limit_log,
    realised_log,
    limit_sigma,
    is_breach,
    input_hash
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
qualify row_number() over (
        partition by target_date, symbol, side, series, model, tail_probability_bps
        order by revision desc
    ) = 1
order by target_date, symbol, side, series, model, tail_probability_bps

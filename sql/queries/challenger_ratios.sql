-- @query challenger_ratios
-- @about On each day, the 1 % quantile of the model that the budget is held against over that of the model in use. A day reads the newest state that held on it; days without one, or without both quantiles, are left out.
with bars as (
    select
        symbol,
        date,
        lead(date) over (partition by symbol order by date) as next_on
    from price
),

said as (
    select
        as_of,
        symbol,
        side,
        model,
        quantile_p100_log
    from challenger_forecast
    where
        as_of <= $last
        and methodology = $methodology
        and config_hash = $config_hash
        and exists (
            select 1
            from bars as b
            where
                b.symbol = challenger_forecast.symbol
                and b.date = challenger_forecast.as_of
                and (b.next_on is null or b.next_on = challenger_forecast.target_date)
        )
    qualify row_number() over (
            partition by as_of, target_date, symbol, side, model
            order by revision desc
        ) = 1
),

held as (
    select
        stated_on,
        gate_model
    from model_state
    where
        stated_on <= $last
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by stated_on
            order by revision desc
        ) = 1
),

ours as (
    select
        as_of,
        symbol,
        side,
        quantile_p100_log
    from said
    where model = $in_use
),

gated as (
    select
        o.as_of,
        o.symbol,
        o.side,
        o.quantile_p100_log,
        h.gate_model
    from ours as o
    asof join held as h on o.as_of >= h.stated_on
)

select
    o.symbol,
    o.side,
    o.as_of,
    o.gate_model,
    t.quantile_p100_log / o.quantile_p100_log as challenger_ratio
from gated as o
inner join said as t
    on
        o.as_of = t.as_of
        and o.symbol = t.symbol
        and o.side = t.side
        and o.gate_model = t.model
where
    t.quantile_p100_log > 0
    and o.quantile_p100_log > 0
order by o.symbol, o.side, o.as_of

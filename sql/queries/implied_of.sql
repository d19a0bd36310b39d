-- @query implied_of
-- @about What parameters in force assume on a day, newest revision.
select
    as_of,
    symbol,
    product,
    side,
    methodology,
    config_hash,
    revision,
    vintage,
    venue,
    read_on,
    parameter,
    value_bps,
    absorbed_log,
    absorbed_drop,
    k_live,
    probability,
    probability_note,
    tail_probability,
    latency_hours,
    latency_note,
    depth_usd,
    depth_note,
    input_hash
from implied_confidence
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, product, side
        order by revision desc
    ) = 1
order by symbol, product, side

-- @query coverage_of
-- @about Newest revision of the backtest table of one day.
select
    as_of,
    scope,
    side,
    series,
    model,
    tail_probability_bps,
    methodology,
    config_hash,
    revision,
    first_date,
    observations,
    distinct_dates,
    exceptions,
    exception_dates,
    exception_rate,
    interval_low,
    interval_high,
    largest_exception_log,
    average_exception_log,
    mean_limit_sigma,
    kupiec_lr,
    kupiec_p,
    independence_lr,
    independence_p,
    joint_p,
    zone,
    power_double,
    verdict
from coverage
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by scope, side, series, model, tail_probability_bps
        order by revision desc
    ) = 1
order by scope, side, series, model, tail_probability_bps

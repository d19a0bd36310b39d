-- @table coverage
-- @grain as_of, scope, side, series, model, tail_probability_bps, methodology, config_hash, revision
-- @partition as_of
-- @about Backtest table in the regulators' words: observations, exceptions, coverage, largest and average exception, tests and power. Append-only.
create table if not exists coverage (
    as_of date not null, -- last day judged
    scope varchar not null, -- market id, or POOLED over all markets
    side varchar not null, -- long or short
    series varchar not null, -- var_close, excursion, trigger, overshoot_24h, or overshoot_24h_deep (lending's depth)
    model varchar not null, -- forecaster judged
    tail_probability_bps integer not null, -- nominal p; 0 on trigger rows
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    first_date date, -- first day judged; null where not available
    observations integer not null, -- days, or triggers where the series is conditional
    distinct_dates integer not null, -- distinct dates among them
    exceptions integer not null, -- breaches
    exception_dates integer not null, -- distinct dates among the breaches
    exception_rate double, -- exceptions over observations; null without observations
    interval_low double, -- 5 % end of the date-block bootstrap interval of the rate
    interval_high double, -- 95 % end
    largest_exception_log double, -- largest loss beyond the limit
    average_exception_log double, -- mean loss beyond the limit
    mean_limit_sigma double, -- mean limit in sigmas: coverage is judged together with it
    kupiec_lr double, -- proportion of failures
    kupiec_p double, -- its p-value
    independence_lr double, -- Christoffersen, first-order clustering; null for conditional series
    independence_p double, -- its p-value
    joint_p double, -- conditional coverage
    zone varchar not null, -- green, yellow, red, or not enough data
    power_double double, -- chance that the 5 % Kupiec test would notice twice the nominal rate
    verdict varchar not null -- consistent, rejected: too many, rejected: too few, not enough data, not available
)

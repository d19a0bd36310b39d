-- @table volatility_forecast
-- @grain as_of, target_date, symbol, model, methodology, config_hash, revision
-- @partition as_of
-- @about One-day volatility forecasts: what was known at as_of about target_date. Append-only; the backtest and the nightly report read the same rows.
create table if not exists volatility_forecast (
    as_of date not null, -- last day whose data was used
    target_date date not null, -- the session that the forecast speaks about
    symbol varchar not null, -- canonical market id
    model varchar not null, -- model asked for, e.g. garch_t
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live: computed for its own day from data as known then; else reconstructed
    mu_daily double not null, -- mean log return a day, fraction
    sigma_daily double not null, -- conditional standard deviation of the log return, fraction a day
    sigma_long_run_daily double not null, -- root of the mean squared return over up to ten years, fraction a day
    sigma_eff_daily double not null, -- anti-procyclical volatility: the larger of the two, with floors
    nu double, -- degrees of freedom; null under normal innovations
    rung varchar not null, -- rung of the ladder behind the forecast
    fit_end date, -- last day in the fit whose parameters are used; null on EWMA rungs
    return_count integer not null, -- returns known at as_of
    input_hash varchar not null -- price_hash at as_of
)

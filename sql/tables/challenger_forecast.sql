-- @table challenger_forecast
-- @grain as_of, target_date, symbol, side, model, methodology, config_hash, revision
-- @partition as_of
-- @about What each model says of the next day's adverse excursion, the one in use among them; close-only markets have none. Append-only.
create table if not exists challenger_forecast (
    as_of date not null, -- last day whose data was used
    target_date date not null, -- day that is spoken about
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long or short
    model varchar not null, -- model's name
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    quantile_p500_log double, -- quantile at 5 %, positive log loss; null where the model says nothing
    quantile_p100_log double, -- quantile at 1 %, positive log loss; null where the model says nothing
    quantile_p50_log double, -- quantile at 0.5 %, positive log loss; null where the model says nothing
    shortfall_p500_log double, -- expected shortfall at 5 %, positive log loss; null where the model says nothing
    shortfall_p100_log double, -- expected shortfall at 1 %, positive log loss; null where the model says nothing
    shortfall_p50_log double, -- expected shortfall at 0.5 %, positive log loss; null where the model says nothing
    sigma_daily double, -- volatility forecast in use, fraction a day
    note varchar not null, -- why the model says nothing, or that its quantiles had crossed and were put in order; else empty
    input_hash varchar not null -- hash of every bar and forecast that went in
)

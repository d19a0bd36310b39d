-- @table breach
-- @grain target_date, symbol, side, series, model, tail_probability_bps, methodology, config_hash, revision
-- @partition target_date
-- @about What happened against what was forecast, one fact a row. Append-only.
create table if not exists breach (
    target_date date not null, -- the day judged
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long or short
    series varchar not null, -- var_close, excursion, trigger, overshoot_24h, or overshoot_24h_deep (lending's depth)
    model varchar not null, -- forecaster judged, or the trigger depth's product
    tail_probability_bps integer not null, -- nominal p; 0 on trigger rows
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    limit_log double not null, -- forecast limit as a positive log loss
    realised_log double not null, -- what happened, positive when adverse
    limit_sigma double not null, -- limit_log over sigma_daily
    is_breach boolean not null, -- realised_log beyond limit_log
    input_hash varchar not null -- price_hash of the day and hash of the forecast
)

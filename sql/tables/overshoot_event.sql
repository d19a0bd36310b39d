-- @table overshoot_event
-- @grain target_date, symbol, side, trigger_depth, methodology, config_hash, revision
-- @partition target_date
-- @about Days on which the price reached a trigger c sigmas from the last close, and how far it went beyond. Append-only.
create table if not exists overshoot_event (
    target_date date not null, -- the day of the trigger
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long (price falls) or short (price rises)
    trigger_depth double not null, -- c, distance of the trigger from the last close in sigma_daily
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    trigger_price_usd double not null, -- previous close times exp(-c sigma), or exp(+c sigma) for shorts
    extreme_price_usd double not null, -- low of the day (long) or high of the day (short)
    sigma_daily double not null, -- forecast made at the close before
    sigma_eff_daily double not null, -- anti-procyclical volatility of the same forecast
    overshoot_log double not null, -- log distance from trigger to extreme, at least zero
    overshoot_sigma double not null, -- overshoot_log over sigma_daily
    input_hash varchar not null -- price_hash of the trigger day
)

-- @table attribution
-- @grain as_of, symbol, product, side, driver, methodology, config_hash, revision
-- @partition as_of
-- @about Why the target moved since the last recommendation, driver by driver; contributions sum to the change of the rounded parameter. Append-only.
create table if not exists attribution (
    as_of date not null, -- last day whose data was used
    since date not null, -- the day compared with: that of the last report before
    symbol varchar not null, -- canonical market id
    product varchar not null, -- lending or perpetual
    side varchar not null, -- long or short
    driver varchar not null, -- volatility, tail, latency, oracle, slippage, fee, model, smoothing, bonus, cap, step_limit or rounding
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    parameter varchar not null, -- lt or mm
    before_bps integer not null, -- target then
    after_bps integer not null, -- target now
    contribution_bps double not null, -- of this driver
    driver_before double, -- the driver then, in its own unit
    driver_after double, -- the driver now
    unit varchar not null, -- of the driver
    input_hash varchar not null -- hash of both threshold rows
)

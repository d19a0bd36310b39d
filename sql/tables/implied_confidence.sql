-- @table implied_confidence
-- @grain as_of, symbol, product, side, methodology, config_hash, revision
-- @partition as_of
-- @about What parameters in force assume: the move that they absorb, and the probability, latency and depth that go with it. Append-only.
create table if not exists implied_confidence (
    as_of date not null, -- last day whose data was used
    symbol varchar not null, -- canonical market id
    product varchar not null, -- lending or perpetual
    side varchar not null, -- long or short
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    venue varchar not null, -- where the parameters are in force
    read_on date not null, -- when they were read
    parameter varchar not null, -- the leading one: lt or mm
    value_bps integer not null, -- in force
    absorbed_log double, -- log move that the set absorbs
    absorbed_drop double, -- the same as a fraction of the price
    k_live double, -- in sigmas over the horizon
    probability double, -- share of past pooled overshoots beyond it; null beyond the sample
    probability_note varchar not null, -- e.g. below 1/n, or empty
    tail_probability double, -- the same by the fitted tail, only where the sample does not reach
    latency_hours double, -- longest time from trigger to sale that it carries at 1 %; null where none or any
    latency_note varchar not null, -- in words
    depth_usd double, -- largest liquidation that it carries at 1 %; null where none
    depth_note varchar not null, -- in words
    input_hash varchar not null -- hash of the threshold row and the set in force
)

-- @table size_tier
-- @grain as_of, symbol, side, tier, methodology, config_hash, revision
-- @partition as_of
-- @about Margins of a perpetual by position size, billed marginally: what is billed never falls below what the budget asks on average at any size. Append-only.
create table if not exists size_tier (
    as_of date not null, -- last day whose data was used
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long or short
    tier integer not null, -- 1 for the smallest sizes; 0 alone where no table can be made
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    floor_usd double, -- sizes from here on
    ceiling_usd double, -- up to here; of the last tier the largest size that can be absorbed, or that was asked for
    mm_bps integer, -- marginal maintenance rate
    im_bps integer, -- initial margin of a position of this tier
    max_leverage integer, -- floor of 1 / initial margin
    maintenance_amount_usd double, -- billed margin is size times rate less this
    note varchar not null, -- why there is no table, or what ends it
    input_hash varchar not null -- hash of the threshold row that the budget was made from
)

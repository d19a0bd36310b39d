-- @table publication
-- @grain as_of, symbol, product, side, parameter, methodology, config_hash, revision
-- @partition as_of
-- @about What a venue's own limits allow to be published today on the way from the set in force to the target: one whole set, valid after clipping, or nothing. Append-only.
create table if not exists publication (
    as_of date not null, -- last day whose data was used
    symbol varchar not null, -- canonical market id
    product varchar not null, -- lending or perpetual
    side varchar not null, -- long or short
    parameter varchar not null, -- key of the parameter: lt, ltv, bonus, mm, im, max_leverage, liquidation_factor, supply_cap or borrow_cap
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    venue varchar not null, -- profile of config/venues.toml
    venue_parameter varchar not null, -- the venue's own word
    outcome varchar not null, -- of the whole set: published, unchanged, wait, hold, block, new, new_market or withheld
    in_force bigint, -- in the parameter's unit: basis points, times or whole tokens; null where none
    target bigint, -- what the budget gives, on the venue's grid; null where it is withheld
    destination bigint, -- where the walk goes after hysteresis; null where none is under way
    published bigint, -- what may stand today; null where nothing is published
    status varchar not null, -- of this parameter: tighten, loosen, wait, hold, coupled, unchanged or the outcome
    steps integer, -- publications until the walk is complete; null where it cannot be without a decision
    converges_on date, -- day on which it is complete; null likewise
    days_looser integer, -- days of the walk that end with a value looser than required
    reason varchar not null, -- one clause with its numbers
    input_hash varchar not null -- hash of the threshold row, the set in force and what stood before
)

-- @table exposure_cap
-- @grain as_of, symbol, side, methodology, config_hash, revision
-- @partition as_of
-- @about Supply cap (long) and borrow cap (short) of a lending market: the largest total at which the threshold is still carried when its largest holders are sold at once. Append-only.
create table if not exists exposure_cap (
    as_of date not null, -- last day whose data was used
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long: supply cap; short: borrow cap
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    lt_bps integer, -- threshold that must be carried: in force, else the target
    lt_basis varchar not null, -- in force, target, or none
    cap_usd double, -- largest total, two significant digits, rounded down; null where no budget is known
    sale_usd double, -- of it sold at once
    binding varchar not null, -- budget, not absorbable, search, or none
    bonus_cap_usd double, -- largest total whose forced sale still pays the liquidator out of the bonus
    practice_cap_usd double, -- rule of practice: twice what is saleable at an impact equal to the bonus
    largest_sale_usd double, -- largest single liquidation that can be absorbed
    used_usd double, -- supplied or borrowed now, where configured
    note varchar not null, -- one sentence
    input_hash varchar not null -- hash of the threshold row that the budget was made from
)

-- @table recommendation
-- @grain as_of, symbol, product, side, parameter, methodology, config_hash, revision
-- @partition as_of
-- @about What the committee is asked to decide: the parameter in force, the target, and what is proposed. Append-only.
create table if not exists recommendation (
    as_of date not null, -- last day whose data was used
    symbol varchar not null, -- canonical market id
    product varchar not null, -- lending or perpetual
    side varchar not null, -- long or short
    parameter varchar not null, -- lt, ltv, bonus, mm, im or max_leverage
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    in_force integer, -- basis points (leverage: times) in force; null where none
    target integer, -- what the budget gives; null where withheld
    proposed integer, -- what is proposed; null where held or withheld
    status varchar not null, -- tighten, loosen, unchanged, hold, new or withheld
    reason varchar not null, -- one clause with its numbers
    implied_probability double, -- tail probability that the value in force allows given a trigger; null where unknown
    implied_note varchar not null, -- e.g. below 1/n, or empty
    input_hash varchar not null -- hash of the threshold row and the value in force
)

-- @table model_state
-- @grain stated_on, methodology, config_hash, revision
-- @partition stated_on
-- @about Who is champion from a day on, who comes near, and whom the budget is held against. Append-only.
create table if not exists model_state (
    stated_on date not null, -- day from which the state holds: the first of a quarter, or that of an approval
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    quarter_on date not null, -- quarter that the day falls into
    champion varchar not null, -- model in charge
    champion_since date, -- day of its approval; null where it always was
    challenger varchar not null, -- best-scoring other model in the confidence set; empty where there is none
    candidate varchar not null, -- model nearest to promotion; empty where there is none
    quarters integer not null, -- for how many quarters in a row
    state varchar not null, -- none, watched, due or promoted
    is_champion_in_set boolean, -- null without enough data
    gate_model varchar not null, -- model that the budget is held against; empty where there is none
    reason varchar not null, -- why, in one or two sentences
    input_hash varchar not null -- hash of every bar and forecast that went in
)

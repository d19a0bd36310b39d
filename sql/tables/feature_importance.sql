-- @table feature_importance
-- @grain quarter_on, side, tail_probability_bps, feature_group, methodology, config_hash, revision
-- @partition quarter_on
-- @about What the boosted quantile loses when a group of features is frozen, on the last block before a quarter that its trees had not seen. Append-only.
create table if not exists feature_importance (
    quarter_on date not null, -- first day of the quarter
    side varchar not null, -- long or short
    tail_probability_bps integer not null, -- nominal exceedance rate, basis points
    feature_group varchar not null, -- group that is frozen; all features: what is left is the pooled quantile
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    feature_count integer not null, -- features in the group
    dates integer not null, -- dates of the block
    score_sigma double not null, -- mean quantile score with all features, in units of the day's volatility forecast
    frozen_score_sigma double not null, -- with the group frozen
    increase_share double not null, -- the second over the first, less one; negative where the group does harm
    p_value double, -- Diebold and Mariano, two-sided; null where nothing differs
    input_hash varchar not null -- hash of every bar and forecast that went in
)

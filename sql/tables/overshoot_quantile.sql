-- @table overshoot_quantile
-- @grain as_of, target_date, symbol, side, trigger_depth, methodology, config_hash, revision
-- @partition as_of
-- @about Quantiles k of the same-day overshoot given a trigger, in sigmas, from trigger days up to as_of. Append-only. Null k: not enough data.
create table if not exists overshoot_quantile (
    as_of date not null, -- last day whose triggers were used
    target_date date not null, -- the session that the quantile speaks about
    symbol varchar not null, -- canonical market id
    side varchar not null, -- long or short
    trigger_depth double not null, -- c
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    own_triggers integer not null, -- the market's own triggers known at as_of
    pooled_triggers integer not null, -- triggers of all markets known at as_of
    pooled_dates integer not null, -- distinct dates among them
    k_own_p500 double, -- own quantile at tail probability 500 bps
    k_own_p100 double, -- own quantile at 100 bps
    k_own_p50 double, -- own quantile at 50 bps
    k_own_p10 double, -- own quantile at 10 bps
    k_pooled_p500 double, -- pooled quantile at 500 bps
    k_pooled_p100 double, -- pooled quantile at 100 bps
    k_pooled_p50 double, -- pooled quantile at 50 bps
    k_pooled_p10 double, -- pooled quantile at 10 bps
    k_p500 double, -- estimate: own shrunk toward pooled, 500 bps
    k_p100 double, -- estimate at 100 bps
    k_p50 double, -- estimate at 50 bps
    k_p10 double, -- estimate at 10 bps
    own_weight_p100 double, -- weight of the market's own quantile at 100 bps
    gpd_threshold_sigma double, -- u, 90 % quantile of the pooled overshoot
    gpd_xi double, -- shape of the pooled excesses
    gpd_beta_sigma double, -- scale of the pooled excesses, sigmas
    gpd_method varchar, -- ml, pwm, or null where too few excesses
    buffer_perp_sigma double, -- adverse excursion over the perpetual user's horizon, sigmas
    buffer_lending_sigma double, -- adverse excursion over the borrower's horizon, sigmas
    input_hash varchar not null -- chained hash of all events known at as_of
)

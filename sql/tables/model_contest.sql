-- @table model_contest
-- @grain quarter_on, side, tail_probability_bps, score, model, methodology, config_hash, revision
-- @partition quarter_on
-- @about Scores of all models on the same days before a quarter, averaged over the markets of a date. Append-only.
create table if not exists model_contest (
    quarter_on date not null, -- first day of the quarter; all that is judged lies before it
    side varchar not null, -- long, short, or both
    tail_probability_bps integer not null, -- nominal exceedance rate, basis points; 0 for all of them together
    score varchar not null, -- quantile, or joint for quantile and shortfall
    model varchar not null, -- model's name
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    champion varchar not null, -- model that the others are compared with
    dates integer not null, -- dates on which all models were judged
    observations integer not null, -- dates and markets
    mean_score double, -- in units of the day's volatility forecast, smaller is better; null without enough data
    ratio double, -- mean score over the champion's; null for the joint score
    ratio_low double, -- lower end of its 90 % interval, by blocks of dates
    ratio_high double, -- upper end
    difference double, -- mean score less the champion's
    dm_statistic double, -- Diebold and Mariano; negative speaks for the model
    dm_p double, -- its two-sided p-value
    is_in_confidence_set boolean, -- among the models that hold the best one with 90 % confidence; null without enough data
    exceedances integer, -- rows beyond the quantile; null for scores that have none
    exceedance_rate double, -- their share
    too_many_p double, -- one-sided p-value of: not exceeded more often than stated
    note varchar not null, -- why a model or a number is missing; else empty
    input_hash varchar not null -- hash of every bar and forecast that went in
)

-- @table conformal_level
-- @grain as_of, symbol, side, model, methodology, config_hash, revision
-- @partition as_of
-- @about Probability at which a model's quantiles would have to be read so that each is exceeded at its nominal rate in the long run: the overlay's log. Append-only.
create table if not exists conformal_level (
    as_of date not null, -- last day whose outcome has moved it
    symbol varchar not null, -- POOLED: all markets share one probability
    side varchar not null, -- long or short
    model varchar not null, -- model's name
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    judged integer not null, -- markets whose outcome of the day was judged
    alpha_p500 double not null, -- in force after the day in place of 5 %, fraction; below it where the model is exceeded too often
    alpha_p100 double not null, -- in force after the day in place of 1 %, fraction; below it where the model is exceeded too often
    alpha_p50 double not null, -- in force after the day in place of 0.5 %, fraction; below it where the model is exceeded too often
    is_held boolean not null, -- a bound held one of them, so that the long-run rate is not assured
    input_hash varchar not null -- hash of every bar and forecast that went in
)

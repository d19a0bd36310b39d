-- @table correlation
-- @grain as_of, symbol, other_symbol, measure, methodology, config_hash, revision
-- @partition as_of
-- @about Dependence of markets on each other, from standardised residuals up to as_of, one row a pair and measure. Append-only. No threshold reads it: diversification is never credited. Null value: not enough data.
create table if not exists correlation (
    as_of date not null, -- last day whose data was used; dcc speaks about the session after it
    symbol varchar not null, -- canonical market id, the earlier one in the alphabet; POOLED for parameters of all markets
    other_symbol varchar not null, -- the other market; POOLED for parameters of all markets
    measure varchar not null, -- ccc, ewma_94, ewma_97, dcc, ledoit_wolf, stress, stress_expected, tail_dependence_empirical, tail_dependence_t, t_copula_nu, dcc_a, dcc_b, dcc_gain
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live: computed for its own day from data as known then, of both markets; else reconstructed
    value double, -- correlation, tail dependence, degrees of freedom, parameter, or log-likelihood above constant correlation (dcc_gain); nine decimals
    observations integer not null, -- days behind the value: those that both markets share, or the lead market's worst ones among them (stress)
    adjustment double not null, -- part of the value that the step to a positive semi-definite matrix added; 0 where none was needed
    last_on date, -- last day that both markets have; null where there is none
    input_hash varchar not null -- hash of all residuals up to as_of and of the lead market's falls
)

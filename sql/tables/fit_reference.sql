-- @table fit_reference
-- @grain fit_end, symbol, model, methodology, config_hash, revision
-- @partition fit_end
-- @about The fit in use beside the best that arch finds on the same window, with arch's standard errors. One row a night and market whose rung arch has. Append-only.
create table if not exists fit_reference (
    fit_end date not null, -- last day whose return entered the fit
    symbol varchar not null, -- canonical market id
    model varchar not null, -- model asked for, e.g. garch_t
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    rung varchar not null, -- rung of the ladder that was compared
    reference_loglikelihood double, -- best of several starts; null where arch could not fit
    gap double, -- that less the fit's: above 0.001 where arch knows a better optimum
    own_start_gap double, -- arch from its own start less the fit's: far below 0 where it ends in a lesser optimum
    same_point_gap double, -- log-likelihood by arch at the fit's parameters less the fit's
    sigma_ratio double, -- next volatility by the reference over the fit's
    same_point_sigma_ratio double, -- next volatility by arch at the fit's parameters over the fit's
    mu_std_error double, -- robust standard errors by arch (Bollerslev and Wooldridge 1992), percent
    omega_std_error double, -- of omega, percent squared
    alpha_std_error double, -- of alpha
    gamma_std_error double, -- of gamma; null where the model has none
    beta_std_error double, -- of beta
    nu_std_error double, -- of nu; null where the model has none
    lam_std_error double, -- of lam; null where the model has none
    message varchar not null, -- what the optimiser of arch said where it did not arrive, or empty
    objection varchar not null, -- why the two disagree, or empty; anything else withholds publication
    input_hash varchar not null -- price_hash at fit_end
)

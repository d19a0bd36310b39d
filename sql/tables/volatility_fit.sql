-- @table volatility_fit
-- @grain fit_end, symbol, model, methodology, config_hash, revision
-- @partition fit_end
-- @about Fit health: one volatility fit a market and refit day with its rung, the constraints it lies on, the next best optimum and what the gate said. Append-only.
create table if not exists volatility_fit (
    fit_end date not null, -- last day whose return entered the fit
    symbol varchar not null, -- canonical market id
    model varchar not null, -- model asked for, e.g. garch_t
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    window_start date not null, -- first day whose return entered the fit
    return_count integer not null, -- returns in the window
    rung varchar not null, -- rung of the ladder that gave the parameters
    mu_percent double not null, -- mean of percent returns
    omega_percent2 double not null, -- GARCH constant, percent squared
    alpha double not null, -- weight of the last squared shock
    gamma double not null, -- extra weight after losses; 0 without asymmetry
    beta double not null, -- weight of the last variance
    nu double, -- degrees of freedom; null under normal innovations
    lam double, -- asymmetry of the skewed t (Hansen 1994); null under other innovations
    persistence double not null, -- alpha + gamma / 2 + beta
    is_igarch boolean not null, -- persistence at or above 0.9995: no long-run variance
    half_life_days double, -- ln 0.5 / ln persistence; null where persistence is 1
    loglikelihood double, -- of the fit; null on EWMA rungs
    ljung_box_p double, -- of squared standardised residuals, ten lags; null on EWMA rungs
    limits varchar not null, -- constraints that the optimum lies on, joined by commas; empty inside
    optimum_gap double, -- log-likelihood above the next best optimum; null where one alone was met
    other_sigma_ratio double, -- next volatility by that optimum over the fit's; null where one alone was met
    gate_note varchar not null, -- why earlier rungs were refused, or empty
    input_hash varchar not null -- price_hash at fit_end
)

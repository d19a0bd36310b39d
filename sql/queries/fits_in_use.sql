-- @query fits_in_use
-- @about The newest fit of each market up to a day, newest revision.
select
    fit_end,
    symbol,
    model,
    methodology,
    config_hash,
    revision,
    window_start,
    return_count,
    rung,
    mu_percent,
    omega_percent2,
    alpha,
    gamma,
    beta,
    nu,
    lam,
    persistence,
    is_igarch,
    half_life_days,
    loglikelihood,
    ljung_box_p,
    limits,
    optimum_gap,
    other_sigma_ratio,
    gate_note,
    input_hash
from volatility_fit
where
    fit_end <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, model
        order by fit_end desc, revision desc
    ) = 1
order by symbol

-- @query fit_references
-- @about The newest comparison with arch of each market up to a day, newest revision.
select
    fit_end,
    symbol,
    model,
    methodology,
    config_hash,
    revision,
    rung,
    reference_loglikelihood,
    gap,
    own_start_gap,
    same_point_gap,
    sigma_ratio,
    same_point_sigma_ratio,
    mu_std_error,
    omega_std_error,
    alpha_std_error,
    gamma_std_error,
    beta_std_error,
    nu_std_error,
    lam_std_error,
    message,
    objection,
    input_hash
from fit_reference
where
    fit_end <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, model
        order by fit_end desc, revision desc
    ) = 1
order by symbol

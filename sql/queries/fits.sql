-- @query fits
-- @about Newest revision of every fit up to a day.
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
    beta,
    nu,
    persistence,
    is_igarch,
    half_life_days,
    loglikelihood,
    ljung_box_p,
    gate_note,
    input_hash
from volatility_fit
where
    fit_end <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by fit_end, symbol, model
        order by revision desc
    ) = 1
order by symbol, fit_end

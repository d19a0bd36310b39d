-- @migration 2
-- @about Fits say more of themselves: asymmetry, constraints, the next best optimum; earlier fits had no asymmetry and the rest is unknown of them. The comparison with arch gets a table.
alter table volatility_fit rename to volatility_fit_1;

create table volatility_fit (
    fit_end date not null,
    symbol varchar not null,
    model varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    window_start date not null,
    return_count integer not null,
    rung varchar not null,
    mu_percent double not null,
    omega_percent2 double not null,
    alpha double not null,
    gamma double not null,
    beta double not null,
    nu double,
    lam double,
    persistence double not null,
    is_igarch boolean not null,
    half_life_days double,
    loglikelihood double,
    ljung_box_p double,
    limits varchar not null,
    optimum_gap double,
    other_sigma_ratio double,
    gate_note varchar not null,
    input_hash varchar not null
);

insert into volatility_fit by name
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
    0.0 as gamma,
    beta,
    nu,
    cast(null as double) as lam,
    persistence,
    is_igarch,
    half_life_days,
    loglikelihood,
    ljung_box_p,
    '' as limits,
    cast(null as double) as optimum_gap,
    cast(null as double) as other_sigma_ratio,
    gate_note,
    input_hash
from volatility_fit_1;

drop table volatility_fit_1;

create table fit_reference (
    fit_end date not null,
    symbol varchar not null,
    model varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    rung varchar not null,
    reference_loglikelihood double,
    gap double,
    own_start_gap double,
    same_point_gap double,
    sigma_ratio double,
    same_point_sigma_ratio double,
    mu_std_error double,
    omega_std_error double,
    alpha_std_error double,
    gamma_std_error double,
    beta_std_error double,
    nu_std_error double,
    lam_std_error double,
    message varchar not null,
    objection varchar not null,
    input_hash varchar not null
);

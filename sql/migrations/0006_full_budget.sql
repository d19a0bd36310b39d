-- @migration 6
-- @about Tables for what stands around the loss budget; nothing that was stored changes.
create table correlation (
    as_of date not null,
    symbol varchar not null,
    other_symbol varchar not null,
    measure varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    value double,
    observations integer not null,
    adjustment double not null,
    last_on date,
    input_hash varchar not null
);

create table order_book (
    snapshot_at timestamp not null,
    symbol varchar not null,
    venue varchar not null,
    side varchar not null,
    level integer not null,
    price_usd double not null,
    quantity double not null,
    known_at timestamp not null,
    source_sha256 varchar not null
);

create table order_book_quarantine (
    set_aside_on date not null,
    snapshot_at timestamp,
    venue varchar,
    symbol varchar,
    row_number bigint,
    reason varchar not null,
    detail varchar not null,
    origin varchar not null,
    source_sha256 varchar,
    known_at timestamp not null
);

alter table threshold add column sigma_daily double;
alter table threshold add column smoothing varchar;
alter table threshold add column horizon_oracle_hours double;
alter table threshold add column horizon_keeper_hours double;
alter table threshold add column horizon_auction_hours double;
alter table threshold add column horizon_sale_hours double;
alter table threshold add column lambda_smoothing double;
alter table threshold add column lambda_raw double;
alter table threshold add column oracle_error double;
alter table threshold add column slippage_law double;
alter table threshold add column slippage_book double;
alter table threshold add column slippage_pool double;
alter table threshold add column slippage_basis varchar;

create table size_tier (
    as_of date not null,
    symbol varchar not null,
    side varchar not null,
    tier integer not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    floor_usd double,
    ceiling_usd double,
    mm_bps integer,
    im_bps integer,
    max_leverage integer,
    maintenance_amount_usd double,
    note varchar not null,
    input_hash varchar not null
);

create table exposure_cap (
    as_of date not null,
    symbol varchar not null,
    side varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    lt_bps integer,
    lt_basis varchar not null,
    cap_usd double,
    sale_usd double,
    binding varchar not null,
    bonus_cap_usd double,
    practice_cap_usd double,
    largest_sale_usd double,
    used_usd double,
    note varchar not null,
    input_hash varchar not null
);

create table implied_confidence (
    as_of date not null,
    symbol varchar not null,
    product varchar not null,
    side varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    venue varchar not null,
    read_on date not null,
    parameter varchar not null,
    value_bps integer not null,
    absorbed_log double,
    absorbed_drop double,
    k_live double,
    probability double,
    probability_note varchar not null,
    tail_probability double,
    latency_hours double,
    latency_note varchar not null,
    depth_usd double,
    depth_note varchar not null,
    input_hash varchar not null
);

create table attribution (
    as_of date not null,
    since date not null,
    symbol varchar not null,
    product varchar not null,
    side varchar not null,
    driver varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    parameter varchar not null,
    before_bps integer not null,
    after_bps integer not null,
    contribution_bps double not null,
    driver_before double,
    driver_after double,
    unit varchar not null,
    input_hash varchar not null
);

create table publication (
    as_of date not null,
    symbol varchar not null,
    product varchar not null,
    side varchar not null,
    parameter varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    venue varchar not null,
    venue_parameter varchar not null,
    outcome varchar not null,
    in_force bigint,
    target bigint,
    destination bigint,
    published bigint,
    status varchar not null,
    steps integer,
    converges_on date,
    days_looser integer,
    reason varchar not null,
    input_hash varchar not null
);

create table challenger_forecast (
    as_of date not null,
    target_date date not null,
    symbol varchar not null,
    side varchar not null,
    model varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    quantile_p500_log double,
    quantile_p100_log double,
    quantile_p50_log double,
    shortfall_p500_log double,
    shortfall_p100_log double,
    shortfall_p50_log double,
    sigma_daily double,
    note varchar not null,
    input_hash varchar not null
);

create table model_contest (
    quarter_on date not null,
    side varchar not null,
    tail_probability_bps integer not null,
    score varchar not null,
    model varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    champion varchar not null,
    dates integer not null,
    observations integer not null,
    mean_score double,
    ratio double,
    ratio_low double,
    ratio_high double,
    difference double,
    dm_statistic double,
    dm_p double,
    is_in_confidence_set boolean,
    exceedances integer,
    exceedance_rate double,
    too_many_p double,
    note varchar not null,
    input_hash varchar not null
);

create table model_state (
    stated_on date not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    quarter_on date not null,
    champion varchar not null,
    champion_since date,
    challenger varchar not null,
    candidate varchar not null,
    quarters integer not null,
    state varchar not null,
    is_champion_in_set boolean,
    gate_model varchar not null,
    reason varchar not null,
    input_hash varchar not null
);

create table conformal_level (
    as_of date not null,
    symbol varchar not null,
    side varchar not null,
    model varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    judged integer not null,
    alpha_p500 double not null,
    alpha_p100 double not null,
    alpha_p50 double not null,
    is_held boolean not null,
    input_hash varchar not null
);

create table feature_importance (
    quarter_on date not null,
    side varchar not null,
    tail_probability_bps integer not null,
    feature_group varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    feature_count integer not null,
    dates integer not null,
    score_sigma double not null,
    frozen_score_sigma double not null,
    increase_share double not null,
    p_value double,
    input_hash varchar not null
);

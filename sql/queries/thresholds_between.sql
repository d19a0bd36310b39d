-- @query thresholds_between
-- @about Newest revision of every threshold of a span of days under one method and configuration. Rows from a bar that was refused since, or toward one that is not the next any more, are left out.
with bars as (
    select
        symbol,
        date,
        lead(date) over (partition by symbol order by date) as next_on
    from price
)

select
    as_of,
    target_date,
    symbol,
    product,
    side,
    methodology,
    config_hash,
    revision,
    vintage,
    status,
    note,
    sigma_eff_daily,
    trigger_depth,
    tail_probability_bps,
    k,
    horizon_hours,
    eta,
    x_quantile,
    x_es,
    lambda_move,
    lambda_oracle,
    lambda_slippage,
    lambda_fee,
    lambda_model,
    lambda_smoothing,
    lambda_total,
    lambda_raw,
    oracle_error,
    slippage_basis,
    binding,
    user_buffer_log,
    notional_usd,
    adv_usd,
    expected_bad_debt,
    lt_raw,
    lt_bps,
    ltv_bps,
    bonus_bps,
    mm_bps,
    im_bps,
    max_leverage,
    absorbed_move,
    input_hash
from threshold
where
    as_of between $first and $last
    and methodology = $methodology
    and config_hash = $config_hash
    and exists (
        select 1
        from bars as b
        where
            b.symbol = threshold.symbol
            and b.date = threshold.as_of
            and (b.next_on is null or b.next_on = threshold.target_date)
    )
qualify row_number() over (
        partition by as_of, target_date, symbol, product, side
        order by revision desc
    ) = 1
order by symbol, product, side, target_date

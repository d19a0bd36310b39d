-- @table threshold
-- @grain as_of, target_date, symbol, product, side, methodology, config_hash, revision
-- @partition as_of
-- @about The loss budget part by part and the parameters that follow from it, rounded on the venue's grid. Append-only.
create table if not exists threshold (
    as_of date not null, -- last day whose data was used
    target_date date not null, -- the session that the threshold is for
    symbol varchar not null, -- canonical market id
    product varchar not null, -- lending or perpetual
    side varchar not null, -- long (collateral or long position) or short
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    vintage varchar not null, -- live or reconstructed
    status varchar not null, -- ok, degraded (thin data: never loosens) or withheld
    note varchar not null, -- why degraded or withheld, or empty
    sigma_daily double, -- forecast volatility of the day, fraction a day
    sigma_eff_daily double, -- volatility in the budget, fraction a day
    smoothing varchar, -- rule against procyclicality: floor, blend, buffer or none
    trigger_depth double, -- c of the overshoot quantile
    tail_probability_bps integer not null, -- p given a trigger
    k double, -- overshoot quantile, sigmas
    horizon_hours double, -- tau, trigger to execution
    horizon_oracle_hours double, -- of it the oracle's delay; null where one figure is all that is known
    horizon_keeper_hours double, -- of it the keeper's; null likewise
    horizon_auction_hours double, -- of it the auction's rounds; null likewise
    horizon_sale_hours double, -- of it a third of the time to sell the size
    eta double, -- horizon exponent
    x_quantile double, -- log move not exceeded with probability 1 - p
    x_es double, -- log move at which expected bad debt meets its budget
    lambda_move double, -- the larger of the two
    lambda_oracle double, -- oracle error
    lambda_slippage double, -- market impact of closing the design notional
    lambda_fee double, -- taker fee and keeper cost
    lambda_model double, -- model-risk margin: half the log distance to a challenger that disagrees
    lambda_smoothing double, -- what an exhaustible buffer adds in calm; 0 under the other rules
    lambda_total double, -- sum of the parts: the log loss budget
    lambda_raw double, -- the budget at the day's own volatility, before anything damps it
    oracle_error double, -- fraction: deviation, what venues differ by, staleness
    slippage_law double, -- fraction by the square-root law
    slippage_book double, -- fraction by walking the order book; null where none is admissible
    slippage_pool double, -- fraction by the constant-product pool; null where none is configured
    slippage_basis varchar, -- which of them is in the budget: law, book, pool, or none
    binding varchar not null, -- quantile, expected_shortfall, cap, or none
    user_buffer_log double, -- adverse excursion over the user's horizon
    notional_usd double, -- design size of one liquidation
    adv_usd double, -- daily traded value assumed or measured
    expected_bad_debt double, -- per unit of debt given a trigger, at the rounded parameters
    lt_raw double, -- closed-form liquidation threshold before caps and rounding, fraction
    lt_bps integer, -- liquidation threshold; null for perpetuals
    ltv_bps integer, -- loan to value at origination; null for perpetuals
    bonus_bps integer, -- liquidation bonus; null for perpetuals
    mm_bps integer, -- maintenance margin; null for lending
    im_bps integer, -- initial margin; null for lending
    max_leverage integer, -- floor of 1 / initial margin; null for lending
    absorbed_move double, -- log move that the rounded parameters absorb over horizon_hours
    input_hash varchar not null -- hash of the rows that the budget was made from
)

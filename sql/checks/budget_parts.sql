-- @check budget_parts
-- @about The parts of every budget sum to its total.
select
    as_of,
    symbol,
    product,
    side,
    lambda_total
from threshold
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and abs(
        lambda_move + lambda_oracle + lambda_slippage + lambda_fee + lambda_model + lambda_smoothing - lambda_total
    ) > 1e-12
order by as_of, symbol, product, side

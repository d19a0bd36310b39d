-- @check threshold_invalid_set
-- @about Published sets hold together after rounding: LTV below LT, LT x (1 + bonus) at most 1, initial above maintenance margin.
select
    as_of,
    symbol,
    product,
    side,
    lt_bps,
    ltv_bps,
    bonus_bps,
    mm_bps,
    im_bps,
    max_leverage,
    status
from threshold
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and (
        ltv_bps >= lt_bps
        or lt_bps * (10000 + bonus_bps) > 100000000
        or im_bps <= mm_bps
        or (max_leverage > 1 and max_leverage * im_bps > 10000)
        or (status <> 'withheld' and product = 'lending' and (lt_bps is null or ltv_bps is null or bonus_bps is null))
        or (status <> 'withheld' and product = 'perpetual' and (mm_bps is null or im_bps is null))
        or (status = 'withheld' and coalesce(lt_bps, mm_bps) is not null)
    )
order by as_of, symbol, product, side

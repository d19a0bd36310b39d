-- @query exposure_caps_of
-- @about Supply and borrow caps of a day, newest revision.
select
    as_of,
    symbol,
    side,
    methodology,
    config_hash,
    revision,
    vintage,
    lt_bps,
    lt_basis,
    cap_usd,
    sale_usd,
    binding,
    bonus_cap_usd,
    practice_cap_usd,
    largest_sale_usd,
    used_usd,
    note,
    input_hash
from exposure_cap
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, side
        order by revision desc
    ) = 1
order by symbol, side

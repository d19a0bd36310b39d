-- @query size_tiers_of
-- @about Margins by size of a day, newest revision.
select
    as_of,
    symbol,
    side,
    tier,
    methodology,
    config_hash,
    revision,
    vintage,
    floor_usd,
    ceiling_usd,
    mm_bps,
    im_bps,
    max_leverage,
    maintenance_amount_usd,
    note,
    input_hash
from size_tier
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, side, tier
        order by revision desc
    ) = 1
order by symbol, side, tier

-- @query attributions_of
-- @about Why targets moved up to a day since the last recommendation, newest revision.
select
    as_of,
    since,
    symbol,
    product,
    side,
    driver,
    methodology,
    config_hash,
    revision,
    vintage,
    parameter,
    before_bps,
    after_bps,
    contribution_bps,
    driver_before,
    driver_after,
    unit,
    input_hash
from attribution
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by symbol, product, side, driver
        order by revision desc
    ) = 1
order by symbol, product, side, driver

-- @query prices
-- @about All prices up to a day.
select
    date,
    symbol,
    source,
    open_usd,
    high_usd,
    low_usd,
    close_usd,
    previous_close_usd,
    volume_usd,
    adv_usd,
    bar_number,
    gap_sessions,
    is_return_valid,
    is_known_at_assumed,
    venue_count,
    feed_status,
    dispersion_bp,
    stress_low_usd,
    venue_low_usd,
    price_hash
from price
where date <= $last
order by symbol, date

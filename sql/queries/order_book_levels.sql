-- @query order_book_levels
-- @about Levels of the snapshots of one market and venue between two moments, both included.
select
    side,
    level,
    price_usd,
    quantity
from order_book
where
    symbol = $symbol
    and venue = $venue
    and snapshot_at between $first and $last
order by side, level

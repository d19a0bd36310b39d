-- @query order_book_snapshots
-- @about Which snapshots are stored, and which file brought each.
select distinct
    snapshot_at,
    symbol,
    venue,
    source_sha256
from order_book
order by snapshot_at, symbol, venue

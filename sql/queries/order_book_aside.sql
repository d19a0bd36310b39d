-- @query order_book_aside
-- @about Snapshots and files of order books that are set aside.
select
    source_sha256,
    origin,
    snapshot_at,
    venue,
    symbol,
    reason
from order_book_quarantine
order by set_aside_on, origin, venue, symbol, snapshot_at, reason

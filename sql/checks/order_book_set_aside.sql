-- @check order_book_set_aside
-- @about No snapshot or file of order books was set aside by the run of the day.
select
    origin,
    row_number,
    venue,
    symbol,
    snapshot_at,
    reason,
    detail
from order_book_quarantine
where set_aside_on = $last
order by origin, venue, symbol, snapshot_at, reason

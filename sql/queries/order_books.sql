-- @query order_books
-- @about Levels of each venue's newest snapshot of a market on each UTC day from the first to the last.
with newest as (
    select
        symbol,
        venue,
        max(snapshot_at) as snapshot_at
    from order_book
    where
        snapshot_at >= cast($first as date)
        and snapshot_at < cast($last as date) + interval 1 day
    group by symbol, venue, cast(snapshot_at as date)
)

select
    b.snapshot_at,
    b.symbol,
    b.venue,
    b.side,
    b.level,
    b.price_usd,
    b.quantity,
    b.known_at,
    b.source_sha256
from order_book as b
inner join newest as n on b.symbol = n.symbol and b.venue = n.venue and b.snapshot_at = n.snapshot_at
order by b.symbol, b.venue, b.snapshot_at, b.side, b.level

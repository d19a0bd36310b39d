-- @table order_book
-- @grain snapshot_at, symbol, venue, side, level
-- @partition snapshot_at
-- @about Levels of order-book snapshots that are sound as a whole; a snapshot is stored once and never changed.
create table if not exists order_book (
    snapshot_at timestamp not null, -- UTC; when the book was seen
    symbol varchar not null, -- canonical market id
    venue varchar not null, -- venue of the book, as in the configuration
    side varchar not null, -- bid or ask
    level integer not null, -- 1 for the best price, counting outwards
    price_usd double not null, -- price of the level
    quantity double not null, -- displayed at that price, in units of the base asset
    known_at timestamp not null, -- UTC; when the file that brought it was first seen
    source_sha256 varchar not null -- raw_file that brought the snapshot
)

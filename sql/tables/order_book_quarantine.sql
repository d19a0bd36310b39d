-- @table order_book_quarantine
-- @grain source_sha256, origin, snapshot_at, venue, symbol, reason
-- @partition set_aside_on
-- @about Order-book snapshots and files that are used in no number, each with its reason; a snapshot is set aside whole, nothing in it is mended.
create table if not exists order_book_quarantine (
    set_aside_on date not null, -- UTC day of the run that met it
    snapshot_at timestamp, -- UTC; null where a whole file is set aside
    venue varchar, -- as written in the file; null where a whole file is set aside
    symbol varchar, -- as written in the file; null where a whole file is set aside
    row_number bigint, -- first row at fault, 1 for the first data row; null where no single row is
    reason varchar not null, -- rule that refused it, snake_case
    detail varchar not null, -- file, row and offending values in words
    origin varchar not null, -- name of the file without folders
    source_sha256 varchar, -- raw_file that brought it; null where its bytes cannot be read
    known_at timestamp not null -- UTC; when it was met
)

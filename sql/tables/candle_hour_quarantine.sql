-- @table candle_hour_quarantine
-- @grain source_sha256, symbol, source, start_at, row_number, reason
-- @partition start_at
-- @about Input rows that did not become hourly candles, each with its reason; nothing is dropped without a row here.
create table if not exists candle_hour_quarantine (
    start_at timestamp, -- UTC; beginning of the hour; null where it could not be read
    symbol varchar not null, -- market id as read, made canonical where possible
    source varchar not null, -- canonical source id
    row_number bigint not null, -- position in the input, 1 for the first data row
    reason varchar not null, -- rule that refused the row, snake_case
    detail varchar not null, -- the offending values in words
    open_usd double, -- as read
    high_usd double, -- as read
    low_usd double, -- as read
    close_usd double, -- as read
    volume double, -- as read
    source_sha256 varchar not null -- raw_file that brought the row
)

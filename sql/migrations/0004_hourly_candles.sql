-- @migration 4
-- @about Hourly candles beside the daily ones, with a quarantine of their own.
create table candle_hour (
    start_at timestamp not null,
    symbol varchar not null,
    source varchar not null,
    open_usd double,
    high_usd double,
    low_usd double,
    close_usd double not null,
    volume double,
    volume_unit varchar not null,
    revision integer not null,
    known_at timestamp not null,
    is_known_at_assumed boolean not null,
    source_sha256 varchar not null
);

create table candle_hour_quarantine (
    start_at timestamp,
    symbol varchar not null,
    source varchar not null,
    row_number bigint not null,
    reason varchar not null,
    detail varchar not null,
    open_usd double,
    high_usd double,
    low_usd double,
    close_usd double,
    volume double,
    source_sha256 varchar not null
);

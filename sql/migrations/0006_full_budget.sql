-- @migration 6
-- @about Tables for what stands around the loss budget; nothing that was stored changes.
create table correlation (
    as_of date not null,
    symbol varchar not null,
    other_symbol varchar not null,
    measure varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    vintage varchar not null,
    value double,
    observations integer not null,
    adjustment double not null,
    last_on date,
    input_hash varchar not null
);

create table order_book (
    snapshot_at timestamp not null,
    symbol varchar not null,
    venue varchar not null,
    side varchar not null,
    level integer not null,
    price_usd double not null,
    quantity double not null,
    known_at timestamp not null,
    source_sha256 varchar not null
);

create table order_book_quarantine (
    set_aside_on date not null,
    snapshot_at timestamp,
    venue varchar,
    symbol varchar,
    row_number bigint,
    reason varchar not null,
    detail varchar not null,
    origin varchar not null,
    source_sha256 varchar,
    known_at timestamp not null
);

-- @table candle_hour
-- @grain start_at, symbol, source, revision
-- @partition start_at
-- @about Hourly candles that passed the screen, beside the daily ones, read by the backtest at the horizon of a liquidation; append-only, a revised value is a new revision.
create table if not exists candle_hour (
    start_at timestamp not null, -- UTC; beginning of the hour
    symbol varchar not null, -- canonical market id
    source varchar not null, -- canonical source id
    open_usd double, -- first trade; null where the source gives closes only
    high_usd double, -- highest trade; null where the source gives closes only
    low_usd double, -- lowest trade; null where the source gives closes only
    close_usd double not null, -- last trade
    volume double, -- in volume_unit; null where unknown
    volume_unit varchar not null, -- base, quote_usd or none
    revision integer not null, -- 1 for the first value seen, counting up
    known_at timestamp not null, -- UTC; from when on this value was known
    is_known_at_assumed boolean not null, -- true for the first bulk load: candle close plus grace
    source_sha256 varchar not null -- raw_file that brought the value
)

-- @table price
-- @grain date, symbol
-- @partition date
-- @about One bar a market and day, agreed on by its sources from what each gave last; what every model reads. Replaced when candles change.
create table if not exists price (
    date date not null, -- trading day
    symbol varchar not null, -- canonical market id
    source varchar not null, -- source of the bar, or consensus where several venues stand
    open_usd double, -- first trade; null on close-only markets
    high_usd double, -- highest trade; null on close-only markets
    low_usd double, -- lowest trade; null on close-only markets
    close_usd double not null, -- last trade
    previous_close_usd double, -- close of the bar before; null on the first bar
    volume_usd double, -- traded value of the day; null where unknown
    adv_usd double, -- median traded value of the last 30 bars; null where unknown
    bar_number integer not null, -- 1 for the market's first bar
    gap_sessions integer not null, -- sessions of the calendar missing before this bar
    is_return_valid boolean not null, -- false on the first bar, after a gap, and in the listing period
    is_known_at_assumed boolean not null, -- the candle's known_at is assumed, so no forecast from it is live
    venue_count integer not null, -- independent venues behind the close
    feed_status varchar not null, -- agreed, disputed or single source
    dispersion_bp double, -- median distance of the venues' closes from this one, basis points; null with one venue
    stress_low_usd double, -- second-lowest low from five venues on, else low_usd
    venue_low_usd double, -- lowest low of any bar that stands, for margins of that venue alone
    price_hash varchar not null -- chained hash of this bar and all earlier bars of the market
)

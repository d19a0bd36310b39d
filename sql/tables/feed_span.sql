-- @table feed_span
-- @grain symbol, source, kind, start_on
-- @partition start_on
-- @about Spans of days on which something was the matter with a feed: missing days, halts, delistings, days that begin at another hour. Replaced with the market's prices.
create table if not exists feed_span (
    symbol varchar not null, -- canonical market id
    source varchar not null, -- source of the feed
    kind varchar not null, -- missing_days, flat_bar, zero_volume, delisted or day_boundary
    start_on date not null, -- first day
    end_on date not null, -- last day
    detail varchar not null, -- in words
    known_on date not null -- newest day that the statement uses
)

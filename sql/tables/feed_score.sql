-- @table feed_score
-- @grain date, symbol, source, methodology, config_hash, revision
-- @partition date
-- @about How far the feed of a market from a source could be trusted on a day: 100 times the product of six penalties over the ninety days before. Append-only.
create table if not exists feed_score (
    date date not null, -- session that is scored
    symbol varchar not null, -- canonical market id
    source varchar not null, -- source of the feed
    methodology varchar not null, -- version of the method
    config_hash varchar not null, -- hash of the configuration that moves numbers
    revision integer not null, -- 1 for the first value, counting up
    score double not null, -- 0 worthless to 100 perfect; below 60 is quarantine
    completeness double not null, -- penalty of 0 to 1: share of due bars that came and stand
    staleness double not null, -- penalty: 0 after seven sessions without a bar
    agreement double not null, -- penalty: median distance from the close agreed on
    revisions double not null, -- penalty: 0 at a tenth of bars changed afterwards
    discovery double not null, -- penalty: root of the share of days on which it did not follow a day late
    independence double not null, -- penalty: one over the root of the number of sources that copy each other
    bars integer not null, -- bars that came in the ninety days
    expected integer not null, -- sessions in them
    rejected integer not null, -- bars in them that no price is made of
    days_stale double not null, -- sessions without a bar since the newest
    disagreement_bp double, -- median distance of closes from those agreed on, basis points; null with one venue
    is_quarantined boolean not null -- nothing of this market is loosened while true
)

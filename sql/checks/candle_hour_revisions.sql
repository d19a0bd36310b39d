-- @check candle_hour_revisions
-- @about Revisions of an hourly candle count up from one without a hole.
select
    start_at,
    symbol,
    source,
    count(*) as row_count,
    max(revision) as last_revision
from candle_hour
where start_at < $last::date + interval 1 day
group by start_at, symbol, source
having count(*) <> max(revision)
order by start_at, symbol, source

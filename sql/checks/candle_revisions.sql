-- @check candle_revisions
-- @about Revisions of a candle count up from one without a hole.
select
    date,
    symbol,
    source,
    count(*) as row_count,
    max(revision) as last_revision
from candle
where date <= $last
group by date, symbol, source
having count(*) <> max(revision)
order by date, symbol, source

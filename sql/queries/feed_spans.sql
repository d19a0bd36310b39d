-- @query feed_spans
-- @about Spans of days on which something was the matter with a feed, as known on a day, the newest first.
select
    symbol,
    source,
    kind,
    start_on,
    end_on,
    detail,
    known_on
from feed_span
where known_on <= $last
order by end_on desc, symbol asc, source asc, kind asc

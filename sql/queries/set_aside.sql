-- @query set_aside
-- @about Rows of every source that the screen refused, with the day they name and when they came; a source's own days without a quotation left out.
select
    q.date,
    q.symbol,
    q.source,
    q.reason,
    q.detail,
    q.open_usd,
    q.close_usd,
    r.known_at
from candle_quarantine as q
inner join raw_file as r on q.source_sha256 = r.source_sha256 and q.source = r.source
where
    q.reason <> 'no_quote'
    and q.date is not null
order by q.symbol, q.source, q.date, q.reason, q.detail

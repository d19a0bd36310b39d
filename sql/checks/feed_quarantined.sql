-- @check feed_quarantined
-- @about No feed is in quarantine on the newest session; while one is, nothing of its market is loosened.
select
    date,
    symbol,
    source,
    score
from feed_score
where
    date <= $last
    and date > cast($last as date) - interval 10 day
    and methodology = $methodology
    and config_hash = $config_hash
qualify
    date = max(date) over (partition by symbol)
    and row_number() over (
        partition by date, symbol, source
        order by revision desc
    ) = 1
    and is_quarantined
order by symbol, source

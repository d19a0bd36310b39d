-- @check feed_stale
-- @about Every feed that is scored has its newest session; a late one loses its vote for the day.
select
    date,
    symbol,
    source,
    days_stale
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
    and days_stale > 0
order by symbol, source

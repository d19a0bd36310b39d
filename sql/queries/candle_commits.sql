-- @query candle_commits
-- @about Days in whose runs candles were stored, by stage: daily or hourly; no row where none were.
select distinct
    stage,
    as_of
from commit_ledger
where stage in ('candle', 'candle_hour')
order by stage, as_of

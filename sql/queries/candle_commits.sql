-- @query candle_commits
-- @about Days in whose runs candles were stored; no row where none were.
select distinct as_of
from commit_ledger
where stage = 'candle'
order by as_of

-- @query last_commit
-- @about The newest row of the ledger.
select
    commit_number,
    stage,
    as_of
from commit_ledger
order by commit_number desc
limit 1

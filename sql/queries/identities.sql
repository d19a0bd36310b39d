-- @query identities
-- @about Methods and configurations that have thresholds in the store, with the days that they cover.
select
    methodology,
    config_hash,
    min(as_of) as first_day,
    max(as_of) as last_day,
    count(distinct as_of) as day_count
from threshold
group by methodology, config_hash
order by methodology, config_hash

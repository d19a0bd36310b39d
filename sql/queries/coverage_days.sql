-- @query coverage_days
-- @about Days of a span that were judged under one method and configuration.
select distinct as_of
from coverage
where
    as_of between $first and $last
    and methodology = $methodology
    and config_hash = $config_hash
order by as_of

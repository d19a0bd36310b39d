-- @query last_recommendation
-- @about Newest day before a day on which something was recommended under one method and configuration; no row where there is none.
select max(as_of) as as_of
from recommendation
where
    as_of < $day
    and methodology = $methodology
    and config_hash = $config_hash
having count(*) > 0

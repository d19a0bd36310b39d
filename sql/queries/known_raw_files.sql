-- @query known_raw_files
-- @about Raw inputs seen before, by content.
select
    source_sha256,
    source
from raw_file
order by source_sha256, source

-- @query reports
-- @about Reports written for one day, oldest first.
select
    as_of,
    revision,
    decision_id,
    status,
    headline,
    pdf_sha256,
    json_sha256,
    page_count,
    report_path,
    methodology,
    config_hash
from report
where as_of = $as_of
order by revision

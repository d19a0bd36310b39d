-- @query last_report
-- @about The newest day that has a report.
select max(as_of) as as_of
from report

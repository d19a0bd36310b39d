-- @query last_report
-- @about The newest day that has a report; no row before the first report.
select max(as_of) as as_of
from report
having max(as_of) is not null

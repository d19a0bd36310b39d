-- @table report
-- @grain as_of, revision
-- @partition as_of
-- @about Reports that were written, by content; an unchanged rebuild adds no row.
create table if not exists report (
    as_of date not null, -- last day whose data was used
    revision integer not null, -- 1 for the first report of the day, counting up
    decision_id varchar not null, -- hash of inputs, configuration and code
    status varchar not null, -- proposed or withheld
    headline varchar not null, -- the decision as a sentence
    pdf_sha256 varchar not null, -- of report.pdf
    json_sha256 varchar not null, -- of decision.json
    page_count integer not null, -- pages of the PDF
    report_path varchar not null, -- folder below the profile's folder
    methodology varchar not null, -- version of the method
    config_hash varchar not null -- hash of the configuration that moves numbers
)

-- @table commit_ledger
-- @grain commit_number
-- @partition none
-- @about One row a committed stage that wrote something, in the same transaction as its data. The only place of run ids.
create table if not exists commit_ledger (
    commit_number bigint not null, -- counts up by one
    stage varchar not null, -- asset that wrote
    as_of date not null, -- partition of the run
    run_id varchar not null, -- orchestrator's run
    input_hash varchar not null, -- of what was read
    output_hash varchar not null, -- of what was written
    code varchar not null, -- methodology version
    config_hash varchar not null, -- of the configuration
    row_count bigint not null -- rows written
)

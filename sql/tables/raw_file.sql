-- @table raw_file
-- @grain source_sha256, source
-- @partition none
-- @about Every input file or bundled series as it was received; its bytes lie under raw/<source>/.
create table if not exists raw_file (
    source_sha256 varchar not null, -- SHA-256 of the raw bytes, hexadecimal
    source varchar not null, -- canonical source id
    origin varchar not null, -- file name or data set without folders, or the series and span an exchange was asked for
    raw_path varchar not null, -- path below the profile's folder
    byte_count bigint not null, -- size of the raw bytes
    row_count bigint not null, -- rows read
    accepted_count bigint not null, -- rows that became candles
    quarantined_count bigint not null, -- rows set aside with a reason
    known_at timestamp not null -- UTC; when the bytes were first seen by this store
)

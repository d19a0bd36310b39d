-- @migration 5
-- @about Prices say how many venues stand behind them; verdicts on bars, spans and scores of feeds get tables. Prices are made anew by the next run: an earlier one had one source and nobody to agree with.
alter table price rename to price_4;

create table price (
    date date not null,
    symbol varchar not null,
    source varchar not null,
    open_usd double,
    high_usd double,
    low_usd double,
    close_usd double not null,
    previous_close_usd double,
    volume_usd double,
    adv_usd double,
    bar_number integer not null,
    gap_sessions integer not null,
    is_return_valid boolean not null,
    is_known_at_assumed boolean not null,
    venue_count integer not null,
    feed_status varchar not null,
    dispersion_bp double,
    stress_low_usd double,
    venue_low_usd double,
    price_hash varchar not null
);

insert into price by name
select
    date,
    symbol,
    source,
    open_usd,
    high_usd,
    low_usd,
    close_usd,
    previous_close_usd,
    volume_usd,
    adv_usd,
    bar_number,
    gap_sessions,
    is_return_valid,
    is_known_at_assumed,
    price_hash,
    1 as venue_count,
    'single source' as feed_status,
    low_usd as stress_low_usd,
    low_usd as venue_low_usd
from price_4;

drop table price_4;

create table bar_verdict (
    date date not null,
    symbol varchar not null,
    source varchar not null,
    kind varchar not null,
    detail varchar not null,
    evidence varchar not null,
    known_on date not null
);

create table feed_span (
    symbol varchar not null,
    source varchar not null,
    kind varchar not null,
    start_on date not null,
    end_on date not null,
    detail varchar not null,
    known_on date not null
);

create table feed_score (
    date date not null,
    symbol varchar not null,
    source varchar not null,
    methodology varchar not null,
    config_hash varchar not null,
    revision integer not null,
    score double not null,
    completeness double not null,
    staleness double not null,
    agreement double not null,
    revisions double not null,
    discovery double not null,
    independence double not null,
    bars integer not null,
    expected integer not null,
    rejected integer not null,
    days_stale double not null,
    disagreement_bp double,
    is_quarantined boolean not null
);

-- @query feed_scores
-- @about Scores of all feeds on the newest session of each market within the ten days up to a day.
with newest as (
    select
        date,
        symbol,
        source,
        score,
        completeness,
        staleness,
        agreement,
        revisions,
        discovery,
        independence,
        bars,
        expected,
        rejected,
        days_stale,
        disagreement_bp,
        is_quarantined
    from feed_score
    where
        date <= $last
        and date > cast($last as date) - interval 10 day
        and methodology = $methodology
        and config_hash = $config_hash
    qualify row_number() over (
            partition by date, symbol, source
            order by revision desc
        ) = 1
)

select
    date,
    symbol,
    source,
    score,
    completeness,
    staleness,
    agreement,
    revisions,
    discovery,
    independence,
    bars,
    expected,
    rejected,
    days_stale,
    disagreement_bp,
    is_quarantined
from newest
qualify date = max(date) over (partition by symbol)
order by symbol, source

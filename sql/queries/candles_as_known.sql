-- @query candles_as_known
-- @about Candles of a source up to a day as they were known when that day's own bar first came (without one: at the end of the next day). A day found to be a single spike is left out where its finding had come by then.
with moments as (
    select
        symbol,
        min(known_at) as known_at
    from candle
    where
        source = $source
        and date = $as_of
    group by symbol
),

mine as (
    select
        date,
        symbol,
        source,
        open_usd,
        high_usd,
        low_usd,
        close_usd,
        volume,
        volume_unit,
        revision,
        known_at,
        is_known_at_assumed,
        cast($as_of as timestamp) + interval 2 day as next_end
    from candle
    where
        source = $source
        and date <= $as_of
),

known as (
    select
        c.date,
        c.symbol,
        c.source,
        c.open_usd,
        c.high_usd,
        c.low_usd,
        c.close_usd,
        c.volume,
        c.volume_unit,
        c.revision,
        c.known_at,
        c.is_known_at_assumed,
        coalesce(m.known_at, c.next_end) as seen_by
    from mine as c
    left join moments as m on c.symbol = m.symbol
    where
        c.known_at <= coalesce(m.known_at, c.next_end)
    qualify row_number() over (
            partition by c.date, c.symbol, c.source
            order by c.revision desc
        ) = 1
)

select
    k.date,
    k.symbol,
    k.source,
    k.open_usd,
    k.high_usd,
    k.low_usd,
    k.close_usd,
    k.volume,
    k.volume_unit,
    k.revision,
    k.known_at,
    k.is_known_at_assumed
from known as k
where
    not exists (
        select 1
        from candle_quarantine as q
        inner join raw_file as r on q.source_sha256 = r.source_sha256 and q.source = r.source
        where
            q.date = k.date
            and q.symbol = k.symbol
            and q.source = k.source
            and q.reason = 'reverting_spike'
            and q.close_usd is not distinct from k.close_usd
            and q.low_usd is not distinct from k.low_usd
            and q.high_usd is not distinct from k.high_usd
            and r.known_at <= k.seen_by
    )
order by k.symbol, k.date

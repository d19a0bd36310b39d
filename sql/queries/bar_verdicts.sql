-- @query bar_verdicts
-- @about Bars up to a day that no price is made of, with the newest values that their sources gave and the price that stands, newest first.
with verdicts as (
    select
        date,
        symbol,
        source,
        kind,
        detail,
        evidence,
        known_on
    from bar_verdict
    where
        date <= $last
        and known_on <= $last
),

bars as (
    select
        date,
        symbol,
        source,
        low_usd,
        high_usd,
        close_usd
    from candle
    qualify row_number() over (
            partition by date, symbol, source
            order by revision desc
        ) = 1
)

select
    v.date,
    v.symbol,
    v.source,
    v.kind,
    v.detail,
    v.evidence,
    v.known_on,
    b.low_usd,
    b.high_usd,
    b.close_usd,
    p.low_usd as agreed_low_usd,
    p.high_usd as agreed_high_usd,
    p.close_usd as agreed_close_usd
from verdicts as v
left join bars as b on v.date = b.date and v.symbol = b.symbol and v.source = b.source
left join price as p on v.date = p.date and v.symbol = p.symbol
order by v.date desc, v.symbol asc, v.source asc

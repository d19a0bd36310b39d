-- @load first_candles
-- @about Append candles of a registered frame as first values: of series that the store knows nothing of and the screen has nothing against.
insert into candle by name
select
    i.date,
    i.symbol,
    i.source,
    i.open as open_usd,
    i.high as high_usd,
    i.low as low_usd,
    i.close as close_usd,
    case when isnan(i.volume) then null else i.volume end as volume,
    i.volume_unit,
    1 as revision,
    i.date + to_minutes(cast($grace_minutes as bigint)) as known_at,
    true as is_known_at_assumed,
    i.source_sha256
from incoming as i

-- @query candle_symbols
-- @about Markets that a source has brought candles for.
select distinct symbol
from candle
where source = $source
order by symbol

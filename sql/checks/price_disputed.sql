-- @check price_disputed
-- @about On the newest day no two sources dispute a price; where they do nothing is loosened.
select
    date,
    symbol,
    dispersion_bp
from price
where
    date <= $last
    and date > cast($last as date) - interval 10 day
qualify date = max(date) over (partition by symbol) and feed_status = 'disputed'
order by symbol

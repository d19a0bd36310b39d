-- @check rung_share
-- @about Markets with more than a tenth of their own-fit forecasts off the rung that was asked for.
select
    symbol,
    count(*) as forecasts,
    count(*) filter (where rung <> model) as off_model,
    count(*) filter (where rung <> model) / count(*) as off_share
from volatility_forecast
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and rung <> 'ewma_short'
group by symbol
having count(*) filter (where rung <> model) > 0.1 * count(*)
order by symbol

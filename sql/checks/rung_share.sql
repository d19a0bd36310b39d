-- @check rung_share
-- @about Markets with more than a tenth of their own-fit forecasts off the default rung of the ladder.
select
    symbol,
    count(*) as forecasts,
    count(*) filter (where rung <> 'garch_t') as off_default,
    count(*) filter (where rung <> 'garch_t') / count(*) as off_share
from volatility_forecast
where
    as_of <= $last
    and methodology = $methodology
    and config_hash = $config_hash
    and rung <> 'ewma_short'
group by symbol
having count(*) filter (where rung <> 'garch_t') > 0.1 * count(*)
order by symbol

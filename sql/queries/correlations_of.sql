-- @query correlations_of
-- @about Newest revision of every dependence of markets stated on a day.
select
    as_of,
    symbol,
    other_symbol,
    measure,
    vintage,
    value,
    observations,
    adjustment,
    last_on,
    input_hash
from correlation
where
    as_of = $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by as_of, symbol, other_symbol, measure
        order by revision desc
    ) = 1
order by measure, symbol, other_symbol

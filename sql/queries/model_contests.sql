-- @query model_contests
-- @about Newest revision of every quarter's contest up to a day.
select
    quarter_on,
    side,
    tail_probability_bps,
    score,
    model,
    methodology,
    config_hash,
    revision,
    champion,
    dates,
    observations,
    mean_score,
    ratio,
    ratio_low,
    ratio_high,
    difference,
    dm_statistic,
    dm_p,
    is_in_confidence_set,
    exceedances,
    exceedance_rate,
    too_many_p,
    note,
    input_hash
from model_contest
where
    quarter_on <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by quarter_on, side, tail_probability_bps, score, model
        order by revision desc
    ) = 1
order by quarter_on, side, tail_probability_bps, score, model

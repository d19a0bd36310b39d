-- @query feature_importances
-- @about Newest revision of what features add, up to a day.
select
    quarter_on,
    side,
    tail_probability_bps,
    feature_group,
    methodology,
    config_hash,
    revision,
    feature_count,
    dates,
    score_sigma,
    frozen_score_sigma,
    increase_share,
    p_value,
    input_hash
from feature_importance
where
    quarter_on <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by quarter_on, side, tail_probability_bps, feature_group
        order by revision desc
    ) = 1
order by quarter_on, side, tail_probability_bps, feature_group

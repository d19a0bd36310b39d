-- @query model_states
-- @about Newest revision of every state that holds up to a day.
select
    stated_on,
    methodology,
    config_hash,
    revision,
    quarter_on,
    champion,
    champion_since,
    challenger,
    candidate,
    quarters,
    state,
    is_champion_in_set,
    gate_model,
    reason,
    input_hash
from model_state
where
    stated_on <= $last
    and methodology = $methodology
    and config_hash = $config_hash
qualify row_number() over (
        partition by stated_on
        order by revision desc
    ) = 1
order by stated_on

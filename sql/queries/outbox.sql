-- @query outbox
-- @about Every mail known, oldest first.
select
    as_of,
    audience,
    recipient,
    revision,
    message_id,
    subject,
    state,
    eml_path,
    eml_sha256,
    decision_id,
    attempts,
    next_attempt_at,
    changed_at,
    last_reply
from outbox
order by as_of, revision, audience, recipient

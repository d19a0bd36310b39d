-- @command move_mail
-- @about A mail moves to another state, from the state that it was read in; nothing moves where another process was faster.
update outbox
set
    state = $state,
    attempts = $attempts,
    next_attempt_at = cast($next_attempt_at as timestamp),
    changed_at = cast($changed_at as timestamp),
    last_reply = $last_reply
where message_id = $message_id and state = $from_state

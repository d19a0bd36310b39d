-- @table outbox
-- @grain as_of, audience, recipient, revision
-- @partition as_of
-- @about Mails to be delivered, one row a recipient; state moves, nothing is deleted.
create table if not exists outbox (
    as_of date not null, -- day of the report
    audience varchar not null, -- committee, forum or desk
    recipient varchar not null, -- address
    revision integer not null, -- revision of the report
    message_id varchar not null, -- deterministic Message-ID
    subject varchar not null, -- as in the mail
    state varchar not null, -- filed, pending, sending, accepted, refused, deferred, unknown or cancelled
    eml_path varchar not null, -- file below the profile's folder
    eml_sha256 varchar not null, -- of the mail file
    decision_id varchar not null, -- of the report inside
    attempts integer not null, -- times that a server was asked to take it
    next_attempt_at timestamp, -- UTC; not before this the next attempt is made; null where none is planned
    changed_at timestamp not null, -- UTC; when the state last moved
    last_reply varchar not null -- what the server said last, or why the state moved
)

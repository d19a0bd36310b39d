-- @migration 3
-- @about Mails are sent: an outbox row counts its attempts and says when the next is due and what the server said. Rows of before were files that no server was to get.
alter table outbox rename to outbox_2;

create table outbox (
    as_of date not null,
    audience varchar not null,
    recipient varchar not null,
    revision integer not null,
    message_id varchar not null,
    subject varchar not null,
    state varchar not null,
    eml_path varchar not null,
    eml_sha256 varchar not null,
    decision_id varchar not null,
    attempts integer not null,
    next_attempt_at timestamp,
    changed_at timestamp not null,
    last_reply varchar not null
);

insert into outbox by name
select
    as_of,
    audience,
    recipient,
    revision,
    message_id,
    subject,
    'filed' as state,
    eml_path,
    eml_sha256,
    decision_id,
    0 as attempts,
    cast(null as timestamp) as next_attempt_at,
    cast(as_of as timestamp) + interval 1 day as changed_at,
    '' as last_reply
from outbox_2;

drop table outbox_2;

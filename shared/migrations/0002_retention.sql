-- What nobody could handle is given up after a while, as every queue does; that is noted, too.
alter table bus.dead_letter_audit drop constraint dead_letter_audit_action;
alter table bus.dead_letter_audit add constraint dead_letter_audit_action
    check (action in ('redrive', 'discard', 'expire'));

-- Waits belong to whoever holds the run: what a holder says of them after it was passed changes nothing. And a circle is
-- broken only while all of its runs are kept from being woken.
--
-- A claim gives the run a new epoch and locks its row to do so. Each function below locks the row before it compares the
-- epoch: it comes wholly before the claim, and the next holder reads what it left, or after it, and does nothing. Order
-- of locks: as in migration 0007.

-- Whether an event was received by the run's call at that path. It is on the tape then.
CREATE FUNCTION penstock.received_event(p_tenant text, p_run uuid, p_path text) RETURNS boolean
    LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT FROM (
            SELECT convert_from(e.body, 'UTF8')::jsonb AS body FROM penstock.events e
            WHERE e.tenant = p_tenant AND e.run_id = p_run AND position('"kind":"wait.ended"'::bytea IN e.body) > 0
        ) AS ended
        WHERE ended.body ->> 'path' = p_path AND ended.body ->> 'status' = 'received'
    )
$$;

-- Begins a wait for the holder of that epoch; see begin_wait. One answer more: lost, when another holds the run by now.
CREATE FUNCTION penstock.begin_held_wait(
    p_epoch integer, p_tenant text, p_run uuid, p_path text, p_kind text, p_name text, p_key text, p_target uuid,
    p_alone boolean, p_until bigint, p_most integer, OUT answer text, OUT circle uuid[]
)
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_kind = 'event' AND p_key <> '' THEN
        PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    ELSE
        PERFORM penstock.lock_waits(p_tenant);
    END IF;
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id IN (p_run, p_target)
    ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch <> p_epoch;
    IF FOUND THEN
        answer := 'lost';
        RETURN;
    END IF;
    SELECT b.answer, b.circle INTO answer, circle FROM penstock.begin_wait(
        p_tenant, p_run, p_path, p_kind, p_name, p_key, p_target, p_alone, p_until, p_most
    ) AS b;
END
$$;

-- Ends a wait whose time is over, for the holder of that epoch; see withdraw_wait. True also when another holds the run.
CREATE FUNCTION penstock.withdraw_held_wait(
    p_epoch integer, p_tenant text, p_run uuid, p_path text, p_name text, p_key text
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_key <> '' THEN
        PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    END IF;
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run FOR NO KEY UPDATE;
    PERFORM 1 FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch = p_epoch AND r.status = 'running';
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    RETURN penstock.withdraw_wait(p_tenant, p_run, p_path, p_name, p_key);
END
$$;

-- Ends a wait that was cut short, for the holder of that epoch. An event that was given to it is free again, and its
-- letter gone: one transaction, or the next holder would find the letter of an event that another run has. True when
-- one was freed.
CREATE FUNCTION penstock.give_back_event(
    p_epoch integer, p_tenant text, p_run uuid, p_path text, p_name text, p_key text
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_next  uuid;
    v_dedup text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF p_key <> '' THEN
        PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
        -- Who gets the event next: its row is locked too, and of two rows the lower first.
        SELECT w.run_id INTO v_next FROM penstock.waits w
        JOIN penstock.runs r ON r.tenant = w.tenant AND r.id = w.run_id AND r.status <> 'ended'
        WHERE w.tenant = p_tenant AND w.name = p_name AND w.key = p_key AND w.kind = 'event' AND w.matched IS NULL
          AND (w.run_id, w.path) <> (p_run, p_path)
        ORDER BY w.arrival LIMIT 1;
    END IF;
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id IN (p_run, v_next)
    ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch = p_epoch AND r.status = 'running';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.waits w WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path
    RETURNING w.matched INTO v_dedup;
    IF coalesce(v_dedup, '') = '' THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.inbox x
    WHERE x.tenant = p_tenant AND x.run_id = p_run AND x.dedup = 'topic:' || p_path AND NOT x.consumed;
    IF FOUND THEN
        UPDATE penstock.runs r SET letters = r.letters - 1 WHERE r.tenant = p_tenant AND r.id = p_run;
    ELSIF penstock.received_event(p_tenant, p_run, p_path) THEN
        RETURN false;
    END IF;
    UPDATE penstock.published p SET taken_by = NULL
    WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = v_dedup AND p.taken_by = p_run;
    PERFORM penstock.match_events(p_tenant, p_name, p_key);
    RETURN true;
END
$$;

-- Puts an event back that was given to a run which ended without taking it. What it took is on its tape.
--
-- Workers of releases before this migration ask the same for runs that they hold, or held once: they cannot say which. A
-- wait with no event is ended for them; one with an event keeps it until the run has ended, for the run's next holder
-- may have that event in hand.
CREATE OR REPLACE FUNCTION penstock.return_event(p_tenant text, p_run uuid, p_path text, p_name text, p_key text)
    RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_going_on boolean;
    v_dedup    text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    v_going_on := EXISTS (
        SELECT FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run AND r.status <> 'ended'
    );
    DELETE FROM penstock.waits w
    WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path
      AND (NOT v_going_on OR coalesce(w.matched, '') = '')
    RETURNING w.matched INTO v_dedup;
    IF coalesce(v_dedup, '') = '' OR penstock.received_event(p_tenant, p_run, p_path) THEN
        RETURN false;
    END IF;
    UPDATE penstock.published p SET taken_by = NULL
    WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = v_dedup AND p.taken_by = p_run;
    PERFORM penstock.match_events(p_tenant, p_name, p_key);
    RETURN true;
END
$$;

-- Ends a wait because its run and others wait for each other for ever: a letter says so. Nothing is done, and false
-- answered, when one of those runs has moved since they were looked at: a run that moves is claimed, which gives it a
-- new epoch. Whoever wakes a run locks its row: with all of them locked, none is woken between the look and the letter.
CREATE OR REPLACE FUNCTION penstock.break_circle(
    p_tenant text, p_run uuid, p_path text, p_dedup text, p_body bytea, p_runs uuid[], p_epochs bigint[]
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM penstock.lock_waits(p_tenant);
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = ANY (p_run || p_runs)
    ORDER BY r.id FOR NO KEY UPDATE;
    PERFORM 1 FROM unnest(p_runs, p_epochs) AS seen(id, epoch)
    LEFT JOIN penstock.runs r ON r.tenant = p_tenant AND r.id = seen.id AND r.epoch = seen.epoch
        AND (r.status = 'parked' AND r.wake_at IS NULL OR r.status = 'queued' AND r.epoch = 0)
    WHERE r.id IS NULL;
    IF FOUND OR penstock.deliver(p_tenant, p_run, p_dedup, 'wait', p_body) <> 1 THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.waits w WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path;
    RETURN true;
END
$$;

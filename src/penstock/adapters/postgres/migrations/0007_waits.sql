-- Waiting for what happens elsewhere: events, other runs, and the duties that a run leaves when it ends.
--
-- Order of locks, the same in all functions below: the lock of an event's name and key, or that of a tenant's wait-for
-- graph; then rows of runs, several only in the order of their ids. An append never takes the first two.

-- ``follow_up``: when this run has ended, somebody is to be told, or something of it is to be put in order. It changes
-- once in a run's life, so appends stay in place (HOT). ``events_in``: events sent to this run so far.
ALTER TABLE penstock.runs ADD COLUMN follow_up boolean NOT NULL DEFAULT false;
ALTER TABLE penstock.runs ADD COLUMN events_in integer NOT NULL DEFAULT 0;
CREATE INDEX runs_follow_up ON penstock.runs (tenant, id) WHERE follow_up AND status = 'ended';
CREATE INDEX runs_session_holders ON penstock.runs (tenant, session, id) WHERE session <> '' AND status <> 'ended';

-- event: waits for an event by name; with a key for one sent to that key, with a target for one that only that run may
-- send. run: waits for the end of the target. child: is about to delegate to the target, which belongs to the session
-- in ``key``. duty: when the run has ended, its child ``target`` is to be cancelled.
--
-- ``alone``: the run has no branch besides the one that waits. ``until``: 0 = no end. ``matched``: the event that was
-- put into the run's inbox for it.
CREATE TABLE penstock.waits (
    tenant  text COLLATE "C" NOT NULL,
    run_id  uuid        NOT NULL,
    path    text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL CHECK (kind IN ('event', 'run', 'child', 'duty')),
    name    text COLLATE "C" NOT NULL,
    key     text COLLATE "C" NOT NULL,
    target  uuid,
    root    uuid        NOT NULL,
    alone   boolean     NOT NULL,
    until   bigint      NOT NULL,
    arrival bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    since   timestamptz NOT NULL DEFAULT clock_timestamp(),
    matched text COLLATE "C",
    PRIMARY KEY (tenant, run_id, path)
);
CREATE INDEX waits_events ON penstock.waits (tenant, name, key, arrival)
    WHERE kind = 'event' AND key <> '' AND matched IS NULL;
CREATE INDEX waits_runs ON penstock.waits (tenant, target, run_id)
    WHERE target IS NOT NULL AND kind IN ('run', 'event');
CREATE INDEX waits_graph ON penstock.waits (tenant, root) WHERE target IS NOT NULL AND kind <> 'duty';

-- Events sent to a name and key. One that a run has taken stays until it expires, so that a repeated sending is known.
CREATE TABLE penstock.published (
    tenant     text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    dedup      text COLLATE "C" NOT NULL,
    arrival    bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    body       bytea       NOT NULL,
    taken_by   uuid,
    PRIMARY KEY (tenant, name, key, dedup)
);
CREATE INDEX published_free ON penstock.published (tenant, name, key, arrival) WHERE taken_by IS NULL;
CREATE INDEX published_expiry ON penstock.published (expires_at);

CREATE FUNCTION penstock.lock_topic(p_tenant text, p_name text, p_key text) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\x1f', 'penstock.topic', p_tenant, p_name, p_key), 0))
$$;

CREATE FUNCTION penstock.lock_waits(p_tenant text) RETURNS void LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\x1f', 'penstock.waits', p_tenant), 0))
$$;

-- Whether a list of waits (JSON of events.Waiting, as a row of runs holds it) has one for the event.
CREATE FUNCTION penstock.awaits_event(p_waiting bytea, p_name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT p_waiting <> '[]' AND convert_from(p_waiting, 'UTF8')::jsonb @> jsonb_build_array(
        jsonb_build_object('kind', 'event', 'name', p_name)
    )
$$;

-- Puts an event into a run's inbox: 1 delivered, 0 known before, -1 no such run or ended, -2 too many. Unlike other
-- letters it wakes the run only if the run waits for it: a flood of events nobody asked for costs no replays. A run
-- that is parking at the moment finds the letter and is due at once.
CREATE FUNCTION penstock.send_event(
    p_tenant text, p_run uuid, p_dedup text, p_name text, p_sender uuid, p_body bytea, p_most integer
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row record;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT r.status, r.events_in, r.waiting INTO v_row
    FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND OR v_row.status = 'ended' THEN
        RETURN -1;
    END IF;
    PERFORM 1 FROM penstock.inbox x WHERE x.tenant = p_tenant AND x.run_id = p_run AND x.dedup = p_dedup;
    IF FOUND THEN
        RETURN 0;
    END IF;
    IF v_row.events_in >= p_most THEN
        RETURN -2;
    END IF;
    INSERT INTO penstock.inbox (tenant, run_id, dedup, kind, body) VALUES (p_tenant, p_run, p_dedup, 'event', p_body);
    UPDATE penstock.runs r
    SET letters = r.letters + 1, events_in = r.events_in + 1,
        status = CASE
            WHEN r.status = 'parked' AND penstock.awaits_event(r.waiting, p_name) THEN 'queued' ELSE r.status
        END,
        wake_at = CASE
            WHEN r.status = 'parked' AND penstock.awaits_event(r.waiting, p_name) THEN clock_timestamp()
            ELSE r.wake_at
        END
    WHERE r.tenant = p_tenant AND r.id = p_run;
    -- A wait for an event of that sender is an edge of the graph no more.
    DELETE FROM penstock.waits w WHERE (w.tenant, w.run_id, w.path) IN (
        SELECT o.tenant, o.run_id, o.path FROM penstock.waits o
        WHERE o.tenant = p_tenant AND o.run_id = p_run AND o.kind = 'event' AND o.key = '' AND o.name = p_name
          AND o.target = p_sender
        ORDER BY o.arrival LIMIT 1
    );
    RETURN 1;
END
$$;

-- Gives the oldest events of a name and key that nobody has to the oldest waits for them. The caller holds the lock of
-- the topic. An event given becomes a letter of that run.
CREATE FUNCTION penstock.match_events(p_tenant text, p_name text, p_key text) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_event record;
    v_wait  record;
    v_told  integer;
BEGIN
    LOOP
        SELECT p.dedup, p.body INTO v_event FROM penstock.published p
        WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.taken_by IS NULL
          AND p.expires_at > clock_timestamp()
        ORDER BY p.arrival LIMIT 1;
        EXIT WHEN NOT FOUND;
        SELECT w.run_id, w.path INTO v_wait FROM penstock.waits w
        WHERE w.tenant = p_tenant AND w.name = p_name AND w.key = p_key AND w.kind = 'event' AND w.matched IS NULL
        ORDER BY w.arrival LIMIT 1;
        EXIT WHEN NOT FOUND;
        v_told := penstock.deliver(p_tenant, v_wait.run_id, 'topic:' || v_wait.path, 'event', v_event.body);
        IF v_told < 0 THEN
            DELETE FROM penstock.waits w
            WHERE w.tenant = p_tenant AND w.run_id = v_wait.run_id AND w.path = v_wait.path;
            CONTINUE;
        END IF;
        UPDATE penstock.waits w SET matched = CASE v_told WHEN 1 THEN v_event.dedup ELSE '' END
        WHERE w.tenant = p_tenant AND w.run_id = v_wait.run_id AND w.path = v_wait.path;
        IF v_told = 1 THEN
            UPDATE penstock.published p SET taken_by = v_wait.run_id
            WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = v_event.dedup;
        END IF;
    END LOOP;
END
$$;

-- Sends an event to whoever waits, or will wait, for that name and key: 1 accepted, 0 known before, -2 too many wait
-- there already.
CREATE FUNCTION penstock.publish_event(
    p_tenant text, p_name text, p_key text, p_dedup text, p_body bytea, p_keep interval, p_most integer
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_waiting integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    PERFORM 1 FROM penstock.published p
    WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = p_dedup;
    IF FOUND THEN
        RETURN 0;
    END IF;
    SELECT count(*) INTO v_waiting FROM (
        SELECT FROM penstock.published p
        WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.taken_by IS NULL
          AND p.expires_at > clock_timestamp()
        LIMIT p_most
    ) AS free;
    IF v_waiting >= p_most THEN
        RETURN -2;
    END IF;
    INSERT INTO penstock.published (tenant, name, key, dedup, expires_at, body)
    VALUES (p_tenant, p_name, p_key, p_dedup, clock_timestamp() + p_keep, p_body);
    PERFORM penstock.match_events(p_tenant, p_name, p_key);
    RETURN 1;
END
$$;

-- Whether a run is the other or descends from it.
CREATE FUNCTION penstock.is_within(p_tenant text, p_run uuid, p_top uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_run uuid := p_run;
BEGIN
    FOR i IN 1..1000 LOOP
        IF v_run = p_top THEN
            RETURN true;
        END IF;
        SELECT r.parent INTO v_run FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = v_run;
        EXIT WHEN v_run IS NULL;
    END LOOP;
    RETURN false;
END
$$;

-- The runs of a session that stand before others: those that have begun and not ended.
CREATE FUNCTION penstock.session_holders(p_tenant text, p_session text, p_but uuid) RETURNS SETOF uuid
    LANGUAGE sql STABLE
AS $$
    SELECT r.id FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.session = p_session AND r.session <> '' AND r.status <> 'ended' AND r.epoch > 0
      AND r.id <> p_but
    ORDER BY r.id LIMIT 10
$$;

-- The circle that a wait of p_run would close: p_run, whom it waits for, and so on; NULL = none. p_starts are the runs
-- waited for: their end, or (p_move) some move of theirs.
--
-- A run ends only when all it waits for, and all that its descendants wait for, has come: every such wait is followed.
-- It may still make a move while one of its branches is free: a wait for a move is followed through a run only where
-- that run has a single branch. Waits with a time-out end by themselves and are not followed. At most p_most runs are
-- looked at.
CREATE FUNCTION penstock.wait_circle(
    p_tenant text, p_run uuid, p_alone boolean, p_starts uuid[], p_move boolean, p_most integer
) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_up    uuid[];                                    -- p_run, its parent, ...
    v_nodes uuid[] := p_starts;
    v_moves boolean[] := array_fill(p_move, ARRAY[cardinality(p_starts)]);
    v_from  integer[] := array_fill(0, ARRAY[cardinality(p_starts)]);
    v_via   uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(p_starts)]);
    v_row   record;
    v_next  record;
    v_path  uuid[];
    i       integer := 1;
    k       integer;
BEGIN
    WITH RECURSIVE up AS (
        SELECT r.id, r.parent, 1 AS n FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run
        UNION ALL
        SELECT r.id, r.parent, up.n + 1 FROM up
        JOIN penstock.runs r ON r.tenant = p_tenant AND r.id = up.parent WHERE up.n < 1000
    )
    SELECT array_agg(up.id ORDER BY up.n) INTO v_up FROM up;
    WHILE i <= cardinality(v_nodes) AND i <= p_most LOOP
        SELECT r.id, r.root, r.status, r.epoch, r.session, r.waiting INTO v_row
        FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = v_nodes[i];
        IF NOT FOUND OR v_row.status = 'ended' THEN
            i := i + 1;
            CONTINUE;
        END IF;
        IF (v_moves[i] AND v_row.id = p_run AND p_alone) OR (NOT v_moves[i] AND v_row.id = ANY (v_up)) THEN
            k := i;
            WHILE k > 0 LOOP
                v_path := v_nodes[k] || v_path;
                IF v_via[k] IS NOT NULL THEN
                    v_path := v_via[k] || v_path;
                END IF;
                k := v_from[k];
            END LOOP;
            -- From the run that was reached, through its children, down to the one that asks.
            v_path := (p_run || v_path);
            FOR k IN REVERSE coalesce(array_position(v_up, v_row.id), 1) - 1..2 LOOP
                v_path := v_path || v_up[k];
            END LOOP;
            RETURN CASE WHEN v_path[cardinality(v_path)] = p_run AND cardinality(v_path) > 1
                THEN v_path[1:cardinality(v_path) - 1] ELSE v_path END;
        END IF;
        FOR v_next IN
            SELECT w.run_id AS via, s.id AS target, w.kind = 'event' AS move
            FROM penstock.waits w
            CROSS JOIN LATERAL (
                SELECT w.target AS id WHERE w.kind <> 'child'
                UNION ALL
                SELECT h FROM penstock.session_holders(p_tenant, w.key, w.target) AS h
                WHERE w.kind = 'child' AND NOT EXISTS (
                    SELECT FROM penstock.runs c WHERE c.tenant = p_tenant AND c.id = w.target AND c.epoch > 0
                )
            ) AS s
            WHERE NOT v_moves[i] AND w.tenant = p_tenant AND w.root = v_row.root AND w.target IS NOT NULL
              AND w.kind <> 'duty' AND w.until = 0 AND penstock.is_within(p_tenant, w.run_id, v_row.id)
            UNION ALL
            SELECT NULL, h, false FROM penstock.session_holders(p_tenant, v_row.session, v_row.id) AS h
            WHERE v_row.epoch = 0
            UNION ALL
            SELECT NULL, w.target, w.kind = 'event' FROM penstock.waits w
            WHERE v_moves[i] AND w.tenant = p_tenant AND w.run_id = v_row.id AND w.kind IN ('event', 'run')
              AND w.target IS NOT NULL AND w.until = 0 AND w.alone
            UNION ALL
            SELECT NULL, (a.one ->> 'id')::uuid, false
            FROM jsonb_array_elements(convert_from(v_row.waiting, 'UTF8')::jsonb) AS a(one)
            WHERE v_moves[i] AND v_row.status = 'parked' AND a.one ->> 'kind' = 'child'
              AND jsonb_array_length(convert_from(v_row.waiting, 'UTF8')::jsonb) = 1
        LOOP
            IF NOT EXISTS (
                SELECT FROM unnest(v_nodes, v_moves) AS known(id, move)
                WHERE known.id = v_next.target AND known.move = v_next.move
            ) THEN
                v_nodes := v_nodes || v_next.target;
                v_moves := v_moves || v_next.move;
                v_from := v_from || i;
                v_via := v_via || NULLIF(v_next.via, v_row.id);
            END IF;
        END LOOP;
        i := i + 1;
    END LOOP;
    RETURN NULL;
END
$$;

-- Begins a wait. Answers: waiting; here: the letter is in the inbox already; ended: the run waited for has; absent: it
-- is not known; cycle: nothing was begun, and ``circle`` says why. Asking again is harmless.
--
-- The commit is not flushed: the append that parks the run commits later in the same log, and its flush takes this one
-- along. What was begun and lost before that is begun again by the run's next holder.
CREATE FUNCTION penstock.begin_wait(
    p_tenant text, p_run uuid, p_path text, p_kind text, p_name text, p_key text, p_target uuid, p_alone boolean,
    p_until bigint, p_most integer, OUT answer text, OUT circle uuid[]
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_root   uuid;
    v_target record;
    v_starts uuid[] := ARRAY[p_target];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    answer := 'waiting';
    IF p_kind = 'event' AND p_key <> '' THEN
        PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    ELSE
        PERFORM penstock.lock_waits(p_tenant);
    END IF;
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id IN (p_run, p_target)
    ORDER BY r.id FOR NO KEY UPDATE;
    SELECT r.root INTO v_root FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run;
    IF p_kind IN ('run', 'event') AND p_key = '' THEN
        SELECT r.status INTO v_target FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_target;
        IF NOT FOUND THEN
            answer := 'absent';
        ELSIF p_kind = 'event' AND EXISTS (
            SELECT FROM penstock.inbox x
            WHERE x.tenant = p_tenant AND x.run_id = p_run AND NOT x.consumed
              AND starts_with(x.dedup, 'event:' || p_name || ':' || p_target || ':')
        ) THEN
            answer := 'here';
        ELSIF v_target.status = 'ended' THEN
            answer := 'ended';
        END IF;
        IF answer <> 'waiting' THEN
            RETURN;
        END IF;
    END IF;
    IF p_until = 0 AND p_key = '' OR p_kind = 'child' THEN
        IF p_kind = 'child' THEN
            SELECT array_agg(h) INTO v_starts FROM penstock.session_holders(p_tenant, p_key, p_target) AS h;
        END IF;
        IF v_starts IS NOT NULL THEN
            circle := penstock.wait_circle(p_tenant, p_run, p_alone, v_starts, p_kind = 'event', p_most);
        END IF;
        IF circle IS NOT NULL THEN
            answer := 'cycle';
            IF p_kind = 'child' THEN
                circle := p_run || (p_target || circle[2:]);
            END IF;
            RETURN;
        END IF;
    END IF;
    INSERT INTO penstock.waits (tenant, run_id, path, kind, name, key, target, root, alone, until)
    VALUES (p_tenant, p_run, p_path, p_kind, p_name, p_key, p_target, v_root, p_alone, p_until)
    ON CONFLICT (tenant, run_id, path) DO UPDATE SET target = excluded.target
    WHERE waits.target IS DISTINCT FROM excluded.target;
    UPDATE penstock.runs r SET follow_up = true
    WHERE r.tenant = p_tenant AND (r.id = p_run OR (r.id = p_target AND p_kind <> 'child')) AND NOT r.follow_up;
    IF p_kind = 'event' AND p_key <> '' THEN
        PERFORM penstock.match_events(p_tenant, p_name, p_key);
    END IF;
END
$$;

-- Ends a wait whose time is over; false when an event was given to it before: then its letter is to be taken instead.
CREATE FUNCTION penstock.withdraw_wait(p_tenant text, p_run uuid, p_path text, p_name text, p_key text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_key <> '' THEN
        PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    END IF;
    DELETE FROM penstock.waits w
    WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path AND w.matched IS NULL;
    RETURN FOUND OR NOT EXISTS (
        SELECT FROM penstock.waits w WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path
    );
END
$$;

-- Notes what is to be cancelled when the run has ended. Committed before the run's end is sent, so that a worker that
-- dies right after it leaves no child that nobody waits for.
CREATE FUNCTION penstock.leave_duties(p_tenant text, p_run uuid, p_children uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO penstock.waits (tenant, run_id, path, kind, name, key, target, root, alone, until)
    SELECT p_tenant, p_run, 'duty ' || c.id, 'duty', '', '', c.id, r.root, false, 0
    FROM unnest(p_children) AS c(id) JOIN penstock.runs r ON r.tenant = p_tenant AND r.id = p_run
    ON CONFLICT DO NOTHING;
    UPDATE penstock.runs r SET follow_up = true WHERE r.tenant = p_tenant AND r.id = p_run AND NOT r.follow_up;
END
$$;

-- Tells up to p_limit of those that wait for a run that it has ended; how many were told.
CREATE FUNCTION penstock.tell_waiters(p_tenant text, p_run uuid, p_limit integer) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_wait record;
    v_told integer := 0;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    FOR v_wait IN
        SELECT w.run_id, w.path FROM penstock.waits w
        WHERE w.tenant = p_tenant AND w.target = p_run AND w.kind IN ('run', 'event')
        ORDER BY w.run_id, w.path LIMIT p_limit
    LOOP
        PERFORM penstock.deliver(p_tenant, v_wait.run_id, 'run:' || v_wait.path || ':' || p_run, 'wait', '{}');
        DELETE FROM penstock.waits w
        WHERE w.tenant = p_tenant AND w.run_id = v_wait.run_id AND w.path = v_wait.path AND w.target = p_run;
        v_told := v_told + 1;
    END LOOP;
    RETURN v_told;
END
$$;

-- Puts an event back that was given to a run which ended without taking it. What it took is on its tape.
CREATE FUNCTION penstock.return_event(p_tenant text, p_run uuid, p_path text, p_name text, p_key text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_dedup text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    DELETE FROM penstock.waits w WHERE w.tenant = p_tenant AND w.run_id = p_run AND w.path = p_path
    RETURNING w.matched INTO v_dedup;
    IF v_dedup IS NULL OR EXISTS (
        SELECT FROM (
            SELECT convert_from(e.body, 'UTF8')::jsonb AS body FROM penstock.events e
            WHERE e.tenant = p_tenant AND e.run_id = p_run AND position('"kind":"wait.ended"'::bytea IN e.body) > 0
        ) AS ended
        WHERE ended.body ->> 'path' = p_path AND ended.body ->> 'status' = 'received'
    ) THEN
        RETURN false;
    END IF;
    UPDATE penstock.published p SET taken_by = NULL
    WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = v_dedup AND p.taken_by = p_run;
    PERFORM penstock.match_events(p_tenant, p_name, p_key);
    RETURN true;
END
$$;

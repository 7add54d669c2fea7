-- Triggers: events that start runs. And circles of waiting runs that were closed after their last wait began.
--
-- An event's firings, one for each trigger that it matches, are written by the transaction that accepts the event: who
-- was told that it is accepted need not send it again for them. A firing is taken like a schedule: look_at moves to the
-- end of the taker's lease, and settling deletes it. One that can never become a run stays, with look_at NULL and the
-- reason, until it expires. Times are microseconds since the epoch; 0 = none.

CREATE TABLE penstock.triggers (
    tenant      text COLLATE "C" NOT NULL,
    name        text COLLATE "C" NOT NULL,
    id          uuid    NOT NULL,
    event       text COLLATE "C" NOT NULL,
    prefix      text COLLATE "C" NOT NULL,
    agent       text COLLATE "C" NOT NULL,
    plan        jsonb   NOT NULL,
    pending_max integer NOT NULL,
    created_at  bigint  NOT NULL,
    created_by  text    NOT NULL,
    paused      boolean NOT NULL DEFAULT false,
    paused_by   text    NOT NULL DEFAULT '',
    fired       bigint  NOT NULL DEFAULT 0,
    failed      bigint  NOT NULL DEFAULT 0,
    last_at     bigint  NOT NULL DEFAULT 0,
    last_run    uuid,
    last_error  text    NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, name),
    UNIQUE (tenant, id)
) WITH (fillfactor = 80);

CREATE INDEX triggers_events ON penstock.triggers (tenant, event) WHERE NOT paused;

CREATE TABLE penstock.firings (
    tenant     text COLLATE "C" NOT NULL,
    trigger_id uuid    NOT NULL,
    id         bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    agent      text COLLATE "C" NOT NULL,
    event      text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    dedup      text COLLATE "C" NOT NULL,
    body       bytea   NOT NULL,
    at         bigint  NOT NULL,
    expires_at bigint  NOT NULL,  -- of one that failed
    token      bigint  NOT NULL DEFAULT 0,
    look_at    bigint,
    error      text    NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, trigger_id, id),
    FOREIGN KEY (tenant, trigger_id) REFERENCES penstock.triggers (tenant, id) ON DELETE CASCADE
);

CREATE INDEX firings_due ON penstock.firings (agent, look_at) WHERE look_at IS NOT NULL;
CREATE INDEX firings_pending ON penstock.firings (tenant, trigger_id) WHERE look_at IS NOT NULL;
CREATE INDEX firings_failed ON penstock.firings (expires_at) WHERE look_at IS NULL;

-- 1 stored, 0 there is one of that name, -1 the tenant has p_limit, or the event p_same. Two that are stored at once may
-- exceed a limit by one: it is a bound, not a quota.
CREATE FUNCTION penstock.put_trigger(
    p_tenant text, p_name text, p_id uuid, p_event text, p_prefix text, p_agent text, p_plan jsonb, p_pending integer,
    p_created_by text, p_paused boolean, p_replace boolean, p_limit integer, p_same integer
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    v_id uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF (SELECT count(*) FROM (
            SELECT FROM penstock.triggers t WHERE t.tenant = p_tenant AND t.name <> p_name LIMIT p_limit
        ) AS n) >= p_limit
        OR (SELECT count(*) FROM (
            SELECT FROM penstock.triggers t
            WHERE t.tenant = p_tenant AND t.event = p_event AND t.name <> p_name LIMIT p_same
        ) AS n) >= p_same
    THEN
        RETURN -1;
    END IF;
    INSERT INTO penstock.triggers AS s (
        tenant, name, id, event, prefix, agent, plan, pending_max, created_at, created_by, paused
    ) VALUES (
        p_tenant, p_name, p_id, p_event, p_prefix, p_agent, p_plan, p_pending, penstock.now_us(), p_created_by, p_paused
    )
    ON CONFLICT (tenant, name) DO UPDATE SET
        event = excluded.event, prefix = excluded.prefix, agent = excluded.agent, plan = excluded.plan,
        pending_max = excluded.pending_max, last_error = ''
    WHERE p_replace
    RETURNING id INTO v_id;
    IF v_id IS NULL THEN
        RETURN 0;
    END IF;
    UPDATE penstock.firings f SET agent = p_agent
    WHERE f.tenant = p_tenant AND f.trigger_id = v_id AND f.agent <> p_agent;
    RETURN 1;
END
$$;

-- Holds a trigger's firings back, or lets them go; false when there is none of that name. Held back: as far away as
-- can be, so that looking for what is due does not meet them.
CREATE FUNCTION penstock.pause_trigger(p_tenant text, p_name text, p_paused boolean, p_actor text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_id uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE penstock.triggers t SET paused = p_paused, paused_by = p_actor
    WHERE t.tenant = p_tenant AND t.name = p_name RETURNING t.id INTO v_id;
    UPDATE penstock.firings f SET look_at = CASE WHEN p_paused THEN 9223372036854775807 ELSE penstock.now_us() END
    WHERE f.tenant = p_tenant AND f.trigger_id = v_id AND f.look_at IS NOT NULL
      AND (p_paused OR f.look_at = 9223372036854775807);
    RETURN v_id IS NOT NULL;
END
$$;

-- Takes firings that are due, for a while. A statement of its own, so its locks last no longer.
CREATE FUNCTION penstock.take_firings(p_agents text[], p_lease_us bigint, p_limit integer)
    RETURNS SETOF penstock.firings
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    RETURN QUERY
    WITH stopped AS MATERIALIZED (
        SELECT c.tenant FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL
    ), due AS MATERIALIZED (
        SELECT d.tenant, d.trigger_id, d.id
        FROM unnest(p_agents) AS offered(agent)
        CROSS JOIN LATERAL (
            SELECT f.tenant, f.trigger_id, f.id, f.look_at FROM penstock.firings f
            WHERE f.agent = offered.agent AND f.look_at <= v_now
              AND NOT EXISTS (SELECT FROM stopped WHERE stopped.tenant IS NULL OR stopped.tenant = f.tenant)
              AND EXISTS (
                  SELECT FROM penstock.triggers t WHERE t.tenant = f.tenant AND t.id = f.trigger_id AND NOT t.paused
              )
            ORDER BY f.look_at LIMIT p_limit
            FOR NO KEY UPDATE OF f SKIP LOCKED
        ) AS d
        ORDER BY d.look_at, d.id LIMIT p_limit
    )
    UPDATE penstock.firings f SET look_at = v_now + p_lease_us, token = f.token + 1
    FROM due WHERE f.tenant = due.tenant AND f.trigger_id = due.trigger_id AND f.id = due.id
    RETURNING f.*;
END
$$;

-- Writes down what became of firings: a run, or (NULL) the reason why none can be made. How many were still the
-- caller's. Lost by a crash it is done again, and comes to the same runs: so the commit is not flushed.
CREATE FUNCTION penstock.settle_firings(
    p_tenants text[], p_triggers uuid[], p_ids bigint[], p_tokens bigint[], p_runs uuid[], p_errors text[]
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_settled integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM 1 FROM penstock.triggers t
    WHERE (t.tenant, t.id) IN (SELECT n.tenant, n.id FROM unnest(p_tenants, p_triggers) AS n(tenant, id))
    ORDER BY t.tenant, t.id FOR NO KEY UPDATE;
    WITH asked AS (
        SELECT * FROM unnest(p_tenants, p_triggers, p_ids, p_tokens, p_runs, p_errors)
            AS a(tenant, trigger_id, id, token, run, error)
    ), gone AS (
        DELETE FROM penstock.firings f USING asked a
        WHERE f.tenant = a.tenant AND f.trigger_id = a.trigger_id AND f.id = a.id AND f.token = a.token
          AND a.run IS NOT NULL
        RETURNING f.tenant, f.trigger_id, f.id, a.run, ''::text AS error
    ), kept AS (
        UPDATE penstock.firings f SET look_at = NULL, error = a.error FROM asked a
        WHERE f.tenant = a.tenant AND f.trigger_id = a.trigger_id AND f.id = a.id AND f.token = a.token
          AND a.run IS NULL
        RETURNING f.tenant, f.trigger_id, f.id, NULL::uuid AS run, f.error
    ), settled AS (
        SELECT * FROM gone UNION ALL SELECT * FROM kept
    ), sums AS (
        SELECT s.tenant, s.trigger_id, count(s.run) AS fired, count(*) - count(s.run) AS failed,
            (array_agg(s.run ORDER BY s.id DESC) FILTER (WHERE s.run IS NOT NULL))[1] AS run,
            (array_agg(s.error ORDER BY s.id DESC))[1] AS error
        FROM settled s GROUP BY s.tenant, s.trigger_id
    ), counted AS (
        UPDATE penstock.triggers t SET
            fired = t.fired + sums.fired, failed = t.failed + sums.failed, last_error = sums.error,
            last_run = coalesce(sums.run, t.last_run),
            last_at = CASE WHEN sums.fired > 0 THEN penstock.now_us() ELSE t.last_at END
        FROM sums WHERE t.tenant = sums.tenant AND t.id = sums.trigger_id
    )
    SELECT count(*) INTO v_settled FROM settled;
    RETURN v_settled;
END
$$;

-- As before, and it fires triggers: 1 accepted, 0 known before, -2 too many wait there already, -3 a trigger has as many
-- events as it holds that are no runs yet.
--
-- An event that fires triggers is accepted also where as many wait as may: its runs are made, but no run that comes to
-- wait for it later gets it, for those before it come first. taken_by is nobody then.
CREATE OR REPLACE FUNCTION penstock.publish_event(
    p_tenant text, p_name text, p_key text, p_dedup text, p_body bytea, p_keep interval, p_most integer
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_waiting integer;
    v_fires   uuid[];  -- these stay until the end of the transaction
    v_behind  boolean;
    v_now     bigint := penstock.now_us();
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM penstock.lock_topic(p_tenant, p_name, p_key);
    PERFORM 1 FROM penstock.published p
    WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.dedup = p_dedup;
    IF FOUND THEN
        RETURN 0;
    END IF;
    SELECT array_agg(own.id) INTO v_fires FROM (
        SELECT t.id FROM penstock.triggers t
        WHERE t.tenant = p_tenant AND t.event = p_name AND NOT t.paused AND starts_with(p_key, t.prefix)
        ORDER BY t.id FOR KEY SHARE
    ) AS own;
    SELECT bool_or(t.pending_max <= (
        SELECT count(*) FROM (
            SELECT FROM penstock.firings f
            WHERE f.tenant = t.tenant AND f.trigger_id = t.id AND f.look_at IS NOT NULL LIMIT t.pending_max
        ) AS n
    )) INTO v_behind
    FROM penstock.triggers t WHERE t.tenant = p_tenant AND t.id = ANY (v_fires);
    IF v_behind THEN
        RETURN -3;
    END IF;
    SELECT count(*) INTO v_waiting FROM (
        SELECT FROM penstock.published p
        WHERE p.tenant = p_tenant AND p.name = p_name AND p.key = p_key AND p.taken_by IS NULL
          AND p.expires_at > clock_timestamp()
        LIMIT p_most
    ) AS free;
    IF v_waiting >= p_most AND v_fires IS NULL THEN
        RETURN -2;
    END IF;
    INSERT INTO penstock.published (tenant, name, key, dedup, expires_at, body, taken_by)
    VALUES (
        p_tenant, p_name, p_key, p_dedup, clock_timestamp() + p_keep, p_body,
        CASE WHEN v_waiting >= p_most THEN '00000000-0000-0000-0000-000000000000'::uuid END
    );
    INSERT INTO penstock.firings (tenant, trigger_id, agent, event, key, dedup, body, at, expires_at, look_at)
    SELECT t.tenant, t.id, t.agent, p_name, p_key, p_dedup, p_body, v_now,
        v_now + (extract(epoch FROM p_keep) * 1000000)::bigint, v_now
    FROM penstock.triggers t
    WHERE t.tenant = p_tenant AND t.id = ANY (v_fires) ORDER BY t.id;
    PERFORM penstock.match_events(p_tenant, p_name, p_key);
    RETURN 1;
END
$$;

-- Whose turn it is to look for circles, and after which wait: one worker at a time, some waits at a time.
CREATE TABLE penstock.circle_looks (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    next_at bigint  NOT NULL DEFAULT 0,
    arrival bigint  NOT NULL DEFAULT 0
);
INSERT INTO penstock.circle_looks DEFAULT VALUES;

CREATE INDEX waits_late ON penstock.waits (arrival)
    WHERE target IS NOT NULL AND kind IN ('event', 'run') AND until = 0;

-- The next waits to look at, when it is time to; the first ones again after the last.
CREATE FUNCTION penstock.look_for_circles(p_every_us bigint, p_limit integer)
    RETURNS TABLE (tenant text, run_id uuid)
    LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    v_now   bigint := penstock.now_us();
    v_after bigint;
    v_last  bigint;
    v_count integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    UPDATE penstock.circle_looks c SET next_at = v_now + p_every_us WHERE c.next_at <= v_now
    RETURNING c.arrival INTO v_after;
    IF v_after IS NULL THEN
        RETURN;
    END IF;
    SELECT max(n.arrival), count(*) INTO v_last, v_count FROM (
        SELECT w.arrival FROM penstock.waits w
        WHERE w.target IS NOT NULL AND w.kind IN ('event', 'run') AND w.until = 0 AND w.arrival > v_after
        ORDER BY w.arrival LIMIT p_limit
    ) AS n;
    UPDATE penstock.circle_looks c SET arrival = CASE WHEN v_count < p_limit THEN 0 ELSE v_last END;
    RETURN QUERY
    SELECT DISTINCT w.tenant, w.run_id FROM penstock.waits w
    JOIN penstock.runs r ON r.tenant = w.tenant AND r.id = w.run_id AND r.status = 'parked' AND r.wake_at IS NULL
    WHERE w.target IS NOT NULL AND w.kind IN ('event', 'run') AND w.until = 0
      AND w.arrival > v_after AND w.arrival <= v_last;
END
$$;

-- Ends a wait because its run and others wait for each other for ever: a letter says so. Nothing is done, and false
-- answered, when one of those runs has moved since they were looked at: a run that moves is claimed, which gives it a
-- new epoch.
CREATE FUNCTION penstock.break_circle(
    p_tenant text, p_run uuid, p_path text, p_dedup text, p_body bytea, p_runs uuid[], p_epochs bigint[]
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM penstock.lock_waits(p_tenant);
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

-- Claims, letters and stops.

-- Takes due runs for a worker. First what a worker whose lease is over still holds, then the queue by priority and
-- time. Leases and due times are compared here and nowhere else: one clock.
CREATE FUNCTION penstock.claim(p_worker uuid, p_releases text[], p_limit integer, p_format integer)
    RETURNS TABLE (
        tenant text, id uuid, epoch integer, last_seq integer, head bytea, agent text, release text, subject text,
        subject_key bytea, parent uuid, parent_path text, claims integer, stop text, deadline bigint, root uuid,
        priority integer, wake_at timestamptz, now_us bigint
    )
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    v_now        timestamptz := clock_timestamp();
    v_everything boolean;
    v_tenants    text[];
    v_taken      integer;
BEGIN
    PERFORM 1 FROM penstock.workers w WHERE w.id = p_worker AND w.lease_until > v_now;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT bool_or(c.tenant IS NULL), coalesce(array_agg(c.tenant), '{}') INTO v_everything, v_tenants
    FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL;
    IF v_everything THEN
        RETURN;
    END IF;

    -- Timers whose time has come join the queue first, so that one order holds for all that is due.
    WITH due AS MATERIALIZED (
        SELECT q.tenant, q.id FROM penstock.runs q
        WHERE q.status = 'parked' AND q.wake_at <= v_now AND (q.stop IS NULL OR q.stop <> 'pause')
        ORDER BY q.wake_at LIMIT 1000
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE penstock.runs r SET status = 'queued' FROM due WHERE r.tenant = due.tenant AND r.id = due.id;

    RETURN QUERY
    WITH gone AS MATERIALIZED (
        SELECT w.id FROM penstock.workers w WHERE w.lease_until <= v_now
    ), due AS MATERIALIZED (
        SELECT d.tenant, d.id
        FROM gone
        CROSS JOIN LATERAL (
            SELECT q.tenant, q.id FROM penstock.runs q
            WHERE q.worker = gone.id AND q.status = 'running' AND (q.stop IS NULL OR q.stop <> 'pause')
              AND q.release = ANY (p_releases) AND q.format <= p_format AND NOT q.tenant = ANY (v_tenants)
            LIMIT p_limit
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS d
        LIMIT p_limit
    ), taken AS (
        UPDATE penstock.runs r SET epoch = r.epoch + 1, worker = p_worker, claims = r.claims + 1
        FROM due WHERE r.tenant = due.tenant AND r.id = due.id
        RETURNING r.*
    )
    SELECT t.tenant, t.id, t.epoch, t.last_seq, t.head, t.agent, t.release, t.subject,
           coalesce(t.subject_key, s.key, ''), t.parent, t.parent_path, t.claims, t.stop, t.deadline, t.root,
           t.priority, t.wake_at, penstock.to_us(v_now)
    FROM taken t LEFT JOIN penstock.subjects s ON s.tenant = t.tenant AND s.subject = t.subject
    ORDER BY t.id;
    GET DIAGNOSTICS v_taken = ROW_COUNT;
    IF v_taken >= p_limit THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT d.tenant, d.id
        FROM unnest(p_releases) AS offered(release)
        CROSS JOIN LATERAL (
            SELECT q.tenant, q.id, q.priority, q.wake_at FROM penstock.runs q
            WHERE q.status = 'queued' AND q.release = offered.release AND q.wake_at <= v_now
              AND (q.stop IS NULL OR q.stop <> 'pause')
              AND q.format <= p_format AND NOT q.tenant = ANY (v_tenants)
            ORDER BY q.priority DESC, q.wake_at LIMIT p_limit - v_taken
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS d
        ORDER BY d.priority DESC, d.wake_at LIMIT p_limit - v_taken
    ), taken AS (
        UPDATE penstock.runs r
        SET epoch = r.epoch + 1, worker = p_worker, claims = r.claims + 1, status = 'running'
        FROM due WHERE r.tenant = due.tenant AND r.id = due.id
        RETURNING r.*
    )
    SELECT t.tenant, t.id, t.epoch, t.last_seq, t.head, t.agent, t.release, t.subject,
           coalesce(t.subject_key, s.key, ''), t.parent, t.parent_path, t.claims, t.stop, t.deadline, t.root,
           t.priority, t.wake_at, penstock.to_us(v_now)
    FROM taken t LEFT JOIN penstock.subjects s ON s.tenant = t.tenant AND s.subject = t.subject
    ORDER BY t.priority DESC, t.wake_at, t.id;
END
$$;

-- Makes a worker known. False when a live worker has the name. Sweeps rows of workers long dead that hold nothing.
CREATE FUNCTION penstock.enlist(p_worker uuid, p_name text, p_lease interval) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('penstock.worker.' || p_name, 0));
    PERFORM 1 FROM penstock.workers
    WHERE name = p_name AND id <> p_worker AND lease_until > clock_timestamp();
    IF FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.workers w
    WHERE w.lease_until < clock_timestamp() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM penstock.runs r WHERE r.worker = w.id AND r.status = 'running');
    INSERT INTO penstock.workers (id, name, lease_until) VALUES (p_worker, p_name, clock_timestamp() + p_lease)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease_until = excluded.lease_until;
    RETURN true;
END
$$;

-- Puts a letter into an inbox and wakes the run: 1 delivered, 0 known before, -1 no such run or ended. The row is
-- locked before it is judged: an update with `WHERE status = 'parked'` would miss a holder that is parking right now.
CREATE FUNCTION penstock.deliver(p_tenant text, p_run uuid, p_dedup text, p_kind text, p_body bytea) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_status text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT status INTO v_status FROM penstock.runs WHERE tenant = p_tenant AND id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND OR (v_status = 'ended' AND p_kind <> 'settle') THEN
        RETURN -1;
    END IF;
    INSERT INTO penstock.inbox (tenant, run_id, dedup, kind, body) VALUES (p_tenant, p_run, p_dedup, p_kind, p_body)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    UPDATE penstock.runs
    SET letters = letters + 1,
        status = CASE status WHEN 'parked' THEN 'queued' ELSE status END,
        wake_at = CASE status WHEN 'parked' THEN clock_timestamp() ELSE wake_at END
    WHERE tenant = p_tenant AND id = p_run;
    RETURN 1;
END
$$;

-- Puts a stop upon some runs of one generation; the stronger one stays. What waited can be claimed, so that somebody
-- ends it. Returns those found and their root. The descendants are stopped by further calls, generation by
-- generation: a stopped parent makes no children, and no lock is held across generations. Raises lock_not_available
-- when a row is held for longer than the wait.
CREATE FUNCTION penstock.stop_runs(p_tenant text, p_runs uuid[], p_stop text, p_wait_ms integer)
    RETURNS TABLE (id uuid, root uuid)
    LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM set_config('lock_timeout', p_wait_ms || 'ms', true);
    PERFORM 1 FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = ANY (p_runs)
    ORDER BY r.id FOR NO KEY UPDATE;
    RETURN QUERY
    UPDATE penstock.runs r
    SET stop = CASE
            WHEN r.status = 'ended' OR r.stop = 'kill' OR (r.stop = 'cancel' AND p_stop = 'pause') THEN r.stop
            ELSE p_stop
        END,
        status = CASE WHEN r.status IN ('parked', 'quarantined') AND p_stop <> 'pause' THEN 'queued' ELSE r.status END,
        wake_at = CASE
            WHEN r.status IN ('parked', 'quarantined') AND p_stop <> 'pause' THEN clock_timestamp()
            ELSE r.wake_at
        END
    WHERE r.tenant = p_tenant AND r.id = ANY (p_runs)
    RETURNING r.id, r.root;
END
$$;

-- Waits, but not long, until every append that may have read the controls before has ended. Raises
-- lock_not_available when one has not.
CREATE FUNCTION penstock.seal(p_wait_ms integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('lock_timeout', p_wait_ms || 'ms', true);
    PERFORM pg_advisory_xact_lock(penstock.append_lock());
    RETURN penstock.to_us(clock_timestamp());
END
$$;

-- Intents without an outcome in unended runs. The stored form has no spaces and quotes inside strings are escaped, so
-- the cheap search by bytes finds kinds and nothing else. Absent fields are their defaults.
CREATE FUNCTION penstock.open_intents(p_tenant text, p_runs uuid[])
    RETURNS TABLE (tenant text, run_id uuid, path text, name text, attempt integer, ends_by bigint)
    LANGUAGE sql STABLE
AS $$
    WITH held AS MATERIALIZED (
        SELECT r.tenant, r.id FROM penstock.runs r
        WHERE r.status <> 'ended' AND r.open_intents > 0
          AND (p_tenant IS NULL OR r.tenant = p_tenant) AND (p_runs IS NULL OR r.id = ANY (p_runs))
    ), calls AS MATERIALIZED (
        SELECT e.tenant, e.run_id, e.seq, penstock.to_us(e.at) AS at, convert_from(e.body, 'UTF8')::jsonb AS body
        FROM held h JOIN penstock.events e ON e.tenant = h.tenant AND e.run_id = h.id
        WHERE position('"kind":"tool.'::bytea IN e.body) > 0 OR position('"kind":"model.'::bytea IN e.body) > 0
    ), parsed AS MATERIALIZED (
        SELECT c.tenant, c.run_id, c.seq, c.at, c.body, c.body ->> 'kind' AS kind,
               coalesce(c.body ->> 'path', '') AS path, coalesce((c.body ->> 'attempt')::integer, 1) AS attempt
        FROM calls c
    )
    SELECT i.tenant, i.run_id, i.path, coalesce(i.body ->> 'tool', i.body ->> 'model', ''), i.attempt,
           i.at + coalesce((i.body ->> 'allowance')::bigint, 0) + coalesce((i.body ->> 'timeout')::bigint, 0)
    FROM parsed i
    WHERE i.kind IN ('tool.intent', 'model.intent') AND NOT EXISTS (
        SELECT FROM parsed o
        WHERE o.tenant = i.tenant AND o.run_id = i.run_id AND o.path = i.path AND o.attempt = i.attempt
          AND o.kind = replace(i.kind, 'intent', 'outcome')
    )
    ORDER BY i.tenant, i.run_id, i.seq
$$;

-- Schedules: runs that are submitted again and again.
--
-- A schedule is looked at when look_at has come, and by nothing else, so those that are not due cost nothing. Taking one
-- moves look_at to the end of the taker's lease; settling it moves look_at to the next time. A worker that dies in
-- between leaves it to be taken again, as of the same moment (taken_at), so that the next one comes to the same
-- decision; and the same times give the same idempotency keys, hence the same runs.
-- Times are microseconds since the epoch; 0 = none.

CREATE TABLE penstock.schedules (
    tenant       text COLLATE "C" NOT NULL,
    name         text COLLATE "C" NOT NULL,
    id           uuid    NOT NULL,
    agent        text COLLATE "C" NOT NULL,
    plan         jsonb   NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    address      bytea   NOT NULL,
    created_at   bigint  NOT NULL,
    created_by   text    NOT NULL,
    paused       boolean NOT NULL DEFAULT false,
    paused_by    text    NOT NULL DEFAULT '',
    next_at      bigint  NOT NULL,
    due_at       bigint  NOT NULL,
    queued_at    bigint  NOT NULL DEFAULT 0,
    requested_at bigint  NOT NULL DEFAULT 0,
    fired        bigint  NOT NULL DEFAULT 0,
    skipped      bigint  NOT NULL DEFAULT 0,
    last_at      bigint  NOT NULL DEFAULT 0,
    last_run     uuid,
    last_error   text    NOT NULL DEFAULT '',
    token        bigint  NOT NULL DEFAULT 0,
    taken_at     bigint  NOT NULL DEFAULT 0,  -- first taking since it was settled
    look_at      bigint,
    PRIMARY KEY (tenant, name)
) WITH (fillfactor = 80);

CREATE INDEX schedules_due ON penstock.schedules (agent, look_at) WHERE look_at IS NOT NULL;

-- When a schedule is to be looked at, by its other columns: one that has a time waiting for a run to end is looked at
-- every p_again microseconds.
CREATE FUNCTION penstock.schedule_look_at(
    p_paused boolean, p_due_at bigint, p_queued_at bigint, p_requested_at bigint, p_now bigint, p_again bigint
) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN p_requested_at > 0 THEN p_now
        WHEN p_paused THEN NULL
        WHEN p_queued_at > 0 THEN least(p_now + p_again, nullif(p_due_at, 0))
        ELSE nullif(p_due_at, 0)
    END;

CREATE FUNCTION penstock.now_us() RETURNS bigint
    LANGUAGE sql VOLATILE
    RETURN penstock.to_us(clock_timestamp());

-- 1 stored, 0 there is one of that name, -1 the tenant has p_limit of them. Two that are stored at once may exceed the
-- limit by one: it is a bound, not a quota.
CREATE FUNCTION penstock.put_schedule(
    p_tenant text, p_name text, p_id uuid, p_agent text, p_plan jsonb, p_subject text, p_address bytea,
    p_created_by text, p_paused boolean, p_next_at bigint, p_due_at bigint, p_replace boolean, p_limit integer
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF NOT EXISTS (SELECT FROM penstock.schedules s WHERE s.tenant = p_tenant AND s.name = p_name)
        AND (SELECT count(*) FROM (SELECT FROM penstock.schedules s WHERE s.tenant = p_tenant LIMIT p_limit) AS n) >= p_limit
    THEN
        RETURN -1;
    END IF;
    INSERT INTO penstock.schedules AS s (
        tenant, name, id, agent, plan, subject, address, created_at, created_by, paused, next_at, due_at, look_at
    ) VALUES (
        p_tenant, p_name, p_id, p_agent, p_plan, p_subject, p_address, v_now, p_created_by, p_paused, p_next_at, p_due_at,
        penstock.schedule_look_at(p_paused, p_due_at, 0, 0, v_now, 0)
    )
    ON CONFLICT (tenant, name) DO UPDATE SET
        agent = excluded.agent, plan = excluded.plan, subject = excluded.subject, address = excluded.address,
        next_at = excluded.next_at, due_at = excluded.due_at, queued_at = 0, last_error = '', token = s.token + 1, taken_at = 0,
        look_at = penstock.schedule_look_at(s.paused, excluded.due_at, 0, s.requested_at, v_now, 0)
    WHERE p_replace;
    RETURN CASE WHEN FOUND THEN 1 ELSE 0 END;
END
$$;

-- Takes schedules that are to be looked at, for a while. A statement of its own, so its locks last no longer.
CREATE FUNCTION penstock.take_schedules(p_agents text[], p_lease_us bigint, p_limit integer)
    RETURNS SETOF penstock.schedules
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
        SELECT d.tenant, d.name
        FROM unnest(p_agents) AS offered(agent)
        CROSS JOIN LATERAL (
            SELECT s.tenant, s.name, s.look_at FROM penstock.schedules s
            WHERE s.agent = offered.agent AND s.look_at <= v_now
              AND NOT EXISTS (SELECT FROM stopped WHERE stopped.tenant IS NULL OR stopped.tenant = s.tenant)
            ORDER BY s.look_at LIMIT p_limit
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS d
        ORDER BY d.look_at LIMIT p_limit
    )
    UPDATE penstock.schedules s SET
        look_at = v_now + p_lease_us, token = s.token + 1,
        taken_at = CASE WHEN s.taken_at > 0 THEN s.taken_at ELSE v_now END
    FROM due WHERE s.tenant = due.tenant AND s.name = due.name
    RETURNING s.*;
END
$$;

-- Writes down what came of a taking, unless another came after it.
CREATE FUNCTION penstock.settle_schedule(
    p_tenant text, p_name text, p_id uuid, p_token bigint, p_next_at bigint, p_due_at bigint, p_queued_at bigint,
    p_requested_at bigint, p_fired bigint, p_skipped bigint, p_last_at bigint, p_last_run uuid, p_error text, p_again bigint
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE penstock.schedules s SET
        next_at = p_next_at, due_at = p_due_at, queued_at = CASE WHEN s.paused THEN 0 ELSE p_queued_at END,
        requested_at = CASE WHEN s.requested_at = p_requested_at THEN 0 ELSE s.requested_at END,
        fired = s.fired + p_fired, skipped = s.skipped + p_skipped,
        last_at = CASE WHEN p_last_at > 0 THEN p_last_at ELSE s.last_at END,
        last_run = coalesce(p_last_run, s.last_run), last_error = p_error, taken_at = 0,
        look_at = penstock.schedule_look_at(
            s.paused, p_due_at, p_queued_at,
            CASE WHEN s.requested_at = p_requested_at THEN 0 ELSE s.requested_at END, penstock.now_us(), p_again
        )
    WHERE s.tenant = p_tenant AND s.name = p_name AND s.id = p_id AND s.token = p_token;
    RETURN FOUND;
END
$$;

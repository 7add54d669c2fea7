-- Lost wake-ups. Whoever ends what a parked run waits for wakes it in the same transaction, so a parked run whose wait is
-- over is always a defect: of the engine, or of a hand in the tables. It is looked for, woken, and written down.

-- Whose turn it is to look, and after which run: one worker at a time, some runs at a time.
CREATE TABLE penstock.wakeup_looks (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    next_at bigint  NOT NULL DEFAULT 0,
    tenant  text COLLATE "C" NOT NULL DEFAULT '',
    run_id  uuid    NOT NULL DEFAULT penstock.nil()
);
INSERT INTO penstock.wakeup_looks DEFAULT VALUES;

CREATE TABLE penstock.rescues (
    tenant text COLLATE "C" NOT NULL,
    run_id uuid        NOT NULL,
    epoch  integer     NOT NULL,
    why    text COLLATE "C" NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, run_id, epoch)
);
CREATE INDEX rescues_at ON penstock.rescues (at);

-- The last run in which a child went on, when that has ended; NULL = the child has not ended.
CREATE FUNCTION penstock.ended_child(p_tenant text, p_root uuid, p_child uuid) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off
AS $$
DECLARE
    v_run  uuid := p_child;
    v_row  record;
BEGIN
    FOR i IN 1..10000 LOOP
        SELECT r.status, r.code INTO v_row FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = v_run;
        IF NOT FOUND OR v_row.status <> 'ended' THEN
            RETURN NULL;
        ELSIF v_row.code <> 'continued' THEN
            RETURN v_run;
        END IF;
        SELECT r.id INTO v_run FROM penstock.runs r
        WHERE r.tenant = p_tenant AND r.root = p_root AND r.parent = v_run AND r.parent_path = 'continued';
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- Why a run should not be asleep, and the letter that ends its wait; NULL = it waits rightly. One statement's view of the
-- tables is enough: a child's end and its letter, an end and what is told of it, are one transaction each.
CREATE FUNCTION penstock.overslept(p_run penstock.runs, OUT why text, OUT dedup text, OUT target uuid)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off
AS $$
DECLARE
    v_item record;
BEGIN
    IF p_run.status <> 'parked' THEN
        RETURN;
    ELSIF p_run.stop IN ('cancel', 'kill') THEN
        why := 'stop';
        RETURN;
    END IF;
    -- An event that nobody waits for is the only letter that may lie in the inbox of a run that sleeps.
    PERFORM FROM penstock.inbox x
    WHERE x.tenant = p_run.tenant AND x.run_id = p_run.id AND NOT x.consumed AND x.kind <> 'event';
    IF FOUND THEN
        why := 'letter';
        RETURN;
    END IF;
    FOR v_item IN
        SELECT a.one ->> 'kind' AS kind, coalesce(a.one ->> 'path', '') AS path, coalesce(a.one ->> 'name', '') AS name,
               coalesce(a.one ->> 'id', '') AS id, coalesce((a.one ->> 'until')::bigint, 0) AS until
        FROM jsonb_array_elements(convert_from(p_run.waiting, 'UTF8')::jsonb) AS a(one)
    LOOP
        IF v_item.until > 0 AND (p_run.wake_at IS NULL OR p_run.wake_at > penstock.from_us(v_item.until)) THEN
            why := 'time';
        ELSIF v_item.kind = 'child' AND v_item.id ~ '^[0-9a-f-]{36}$' THEN
            dedup := 'child:' || v_item.id;
            target := penstock.ended_child(p_run.tenant, p_run.root, v_item.id::uuid);
            why := CASE WHEN target IS NOT NULL THEN 'child' END;
        ELSIF v_item.kind = 'run' AND v_item.id ~ '^[0-9a-f-]{36}$' THEN
            dedup := 'run:' || v_item.path || ':' || v_item.id;
            SELECT 'run', r.id INTO why, target FROM penstock.runs r
            WHERE r.tenant = p_run.tenant AND r.id = v_item.id::uuid AND r.status = 'ended' AND NOT r.follow_up;
        ELSIF v_item.kind IN ('approval', 'doubt') AND v_item.id <> '' THEN
            dedup := 'approval:' || v_item.id;
            SELECT 'decision' INTO why FROM penstock.inbox x
            WHERE x.tenant = p_run.tenant AND x.run_id = p_run.id AND x.dedup = 'approval:' || v_item.id;
        ELSIF v_item.kind = 'event' THEN
            SELECT 'event' INTO why FROM penstock.inbox x
            WHERE x.tenant = p_run.tenant AND x.run_id = p_run.id AND NOT x.consumed AND x.kind = 'event' AND (
                x.dedup = 'topic:' || v_item.path
                OR starts_with(x.dedup, 'event:' || v_item.name || ':' || CASE v_item.id
                    WHEN '' THEN '' ELSE v_item.id || ':' END)
            )
            LIMIT 1;
        END IF;
        IF why IS NOT NULL THEN
            RETURN;
        END IF;
        dedup := NULL;
        target := NULL;
    END LOOP;
END
$$;

-- Wakes a run that should not be asleep, if that is still so. A letter that was consumed without a trace is put back; the
-- one of a child's end, when there is none, has to be made by the caller: then ``child`` is the run that tells how it
-- ended, and nothing is woken yet.
CREATE FUNCTION penstock.wake_overslept(p_tenant text, p_run uuid, OUT why text, OUT child uuid)
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_run  penstock.runs;
    v_lost record;
BEGIN
    SELECT r.* INTO v_run FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run
    FOR NO KEY UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_lost := penstock.overslept(v_run);
    why := v_lost.why;
    IF why IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO penstock.rescues (tenant, run_id, epoch, why) VALUES (p_tenant, p_run, v_run.epoch, why)
    ON CONFLICT DO NOTHING;
    DELETE FROM penstock.rescues s WHERE s.at < clock_timestamp() - interval '90 days';
    IF why = 'time' THEN
        UPDATE penstock.runs r SET wake_at = (
            SELECT penstock.from_us(min((a.one ->> 'until')::bigint))
            FROM jsonb_array_elements(convert_from(r.waiting, 'UTF8')::jsonb) AS a(one)
            WHERE (a.one ->> 'until')::bigint > 0
        ) WHERE r.tenant = p_tenant AND r.id = p_run;
        RETURN;
    ELSIF why = 'run' THEN
        INSERT INTO penstock.inbox AS x (tenant, run_id, dedup, kind, body)
        VALUES (p_tenant, p_run, v_lost.dedup, 'wait', '{}')
        ON CONFLICT (tenant, run_id, dedup) DO UPDATE SET consumed = false;
    ELSIF why IN ('child', 'decision') THEN
        UPDATE penstock.inbox x SET consumed = false
        WHERE x.tenant = p_tenant AND x.run_id = p_run AND x.dedup = v_lost.dedup;
        IF NOT FOUND THEN
            child := v_lost.target;
            RETURN;
        END IF;
    END IF;
    UPDATE penstock.runs r
    SET status = 'queued', wake_at = clock_timestamp(), letters = (
        SELECT count(*) FROM penstock.inbox x WHERE x.tenant = p_tenant AND x.run_id = p_run AND NOT x.consumed
    )
    WHERE r.tenant = p_tenant AND r.id = p_run;
END
$$;

-- Looks at the next unended runs, when it is time to, and wakes those of them that should not be asleep; the first ones
-- again after the last.
CREATE FUNCTION penstock.look_for_overslept(p_every_us bigint, p_limit integer)
    RETURNS TABLE (tenant text, run_id uuid, epoch integer, why text, child uuid)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off
AS $$
#variable_conflict use_column
DECLARE
    v_now      bigint := penstock.now_us();
    v_look     record;
    v_row      record;
    v_seen     integer := 0;
    v_tenants  text[] := '{}';
    v_runs     uuid[] := '{}';
BEGIN
    SELECT l.tenant, l.run_id INTO v_look FROM penstock.wakeup_looks l WHERE l.next_at <= v_now
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR v_row IN
        SELECT r.tenant, r.id, CASE r.status WHEN 'parked' THEN (penstock.overslept(r)).why END AS why
        FROM penstock.runs r
        WHERE r.status <> 'ended' AND (r.tenant, r.id) > (v_look.tenant, v_look.run_id)
        ORDER BY r.tenant, r.id LIMIT p_limit
    LOOP
        v_seen := v_seen + 1;
        IF v_row.why IS NOT NULL THEN
            v_tenants := v_tenants || v_row.tenant;
            v_runs := v_runs || v_row.id;
        END IF;
    END LOOP;
    UPDATE penstock.wakeup_looks l
    SET next_at = v_now + p_every_us,
        tenant = CASE WHEN v_seen < p_limit THEN '' ELSE v_row.tenant END,
        run_id = CASE WHEN v_seen < p_limit THEN penstock.nil() ELSE v_row.id END;
    RETURN QUERY
    SELECT k.tenant, k.run_id, r.epoch, w.why, w.child
    FROM unnest(v_tenants, v_runs) AS k(tenant, run_id)
    JOIN penstock.runs r ON r.tenant = k.tenant AND r.id = k.run_id
    CROSS JOIN LATERAL penstock.wake_overslept(k.tenant, k.run_id) AS w
    WHERE w.why IS NOT NULL;
END
$$;

-- Retention: policies, holds, and what is left of runs whose record is gone.
--
-- A run is marked (pruned_at and a tombstone, in one transaction), then emptied of payloads, then swept of events. Its row
-- stays as it is, so idempotency keys, references and sums go on working, until it is forgotten.
--
-- Every step takes the retention lock shared, a hold takes it exclusively: when a hold has been acknowledged, no step that
-- did not see it is under way. No append and no claim takes it. Steps skip rows that somebody holds and wait for none.

CREATE FUNCTION penstock.retention_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 7955997830320;
CREATE FUNCTION penstock.nil() RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '00000000-0000-0000-0000-000000000000'::uuid;

ALTER TABLE penstock.runs ADD COLUMN pruned_at timestamptz;
-- Ids are time-ordered, and a run has not ended before it was made: those that are due stand at the beginning.
CREATE INDEX runs_kept ON penstock.runs (tenant, agent, id) WHERE status = 'ended' AND pruned_at IS NULL;
CREATE INDEX runs_subject ON penstock.runs (tenant, subject, id) WHERE pruned_at IS NULL AND subject <> id::text;

CREATE TABLE penstock.retention_policies (
    tenant  text COLLATE "C" NOT NULL,
    agent   text COLLATE "C" NOT NULL,
    action  text COLLATE "C" NOT NULL CHECK (action IN ('archive', 'prune')),
    keep    bigint  NOT NULL CHECK (keep >= 0),
    forget  bigint  NOT NULL CHECK (forget = 0 OR forget >= keep),
    content boolean NOT NULL,
    actor   text    NOT NULL,
    set_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, agent)
);

-- The nil run stands for the whole tenant.
CREATE TABLE penstock.holds (
    tenant text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    root   uuid NOT NULL,
    reason text NOT NULL,
    actor  text NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, run_id)
);
CREATE INDEX holds_root ON penstock.holds (tenant, root);

CREATE TABLE penstock.archives (
    tenant  text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    folder  text    NOT NULL,
    size    bigint  NOT NULL,
    runs    integer NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, name)
);

CREATE TABLE penstock.tombstones (
    tenant     text COLLATE "C" NOT NULL,
    run_id     uuid        NOT NULL,
    agent      text COLLATE "C" NOT NULL,
    ended_at   timestamptz NOT NULL,
    last_seq   integer     NOT NULL,
    head       bytea       NOT NULL,
    archive    text COLLATE "C" NOT NULL,
    named      boolean     NOT NULL,  -- its subject may be others' too
    pruned_at  timestamptz NOT NULL,
    emptied_at timestamptz,
    swept_at   timestamptz,
    PRIMARY KEY (tenant, run_id)
);
CREATE INDEX tombstones_archive ON penstock.tombstones (tenant, archive) WHERE archive <> '';
CREATE INDEX tombstones_full ON penstock.tombstones (tenant, named, run_id) WHERE emptied_at IS NULL;
CREATE INDEX tombstones_unswept ON penstock.tombstones (tenant, pruned_at)
    WHERE emptied_at IS NOT NULL AND swept_at IS NULL;
CREATE INDEX tombstones_age ON penstock.tombstones (tenant, agent, ended_at) WHERE swept_at IS NOT NULL;

CREATE TABLE penstock.forgotten (
    tenant      text COLLATE "C" NOT NULL,
    month       text COLLATE "C" NOT NULL,
    agent       text COLLATE "C" NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    runs        bigint NOT NULL,
    steps       bigint NOT NULL,
    model_calls bigint NOT NULL,
    tool_calls  bigint NOT NULL,
    tokens      bigint NOT NULL,
    nano        bigint NOT NULL,
    PRIMARY KEY (tenant, month, agent, outcome)
);

CREATE TABLE penstock.retention_turn (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    origin      uuid NOT NULL DEFAULT gen_random_uuid(),  -- which database this is: archives name it
    holder      uuid,
    lease_until timestamptz NOT NULL,
    due_at      timestamptz NOT NULL
);
INSERT INTO penstock.retention_turn (lease_until, due_at) VALUES ('-infinity', '-infinity');

CREATE FUNCTION penstock.take_retention_turn(p_holder uuid, p_lease interval, p_due boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM penstock.retention_turn t
    WHERE (t.holder = p_holder AND t.lease_until > v_now)
       OR (t.lease_until <= v_now AND (NOT p_due OR t.due_at <= v_now))
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE penstock.retention_turn SET holder = p_holder, lease_until = v_now + p_lease;
    RETURN true;
END
$$;

CREATE FUNCTION penstock.tenant_held(p_tenant text) RETURNS boolean LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM penstock.holds h WHERE h.tenant = p_tenant AND h.run_id = penstock.nil());
END
$$;

-- 1 held now, 0 it was before, -1 no such run, -2 its record is gone.
CREATE FUNCTION penstock.hold(p_tenant text, p_run uuid, p_actor text, p_reason text) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_root   uuid := penstock.nil();
    v_pruned timestamptz;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock(penstock.retention_lock());
    IF p_run <> penstock.nil() THEN
        SELECT r.root, r.pruned_at INTO v_root, v_pruned FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run;
        IF NOT FOUND THEN
            RETURN -1;
        ELSIF v_pruned IS NOT NULL THEN
            RETURN -2;
        END IF;
    END IF;
    INSERT INTO penstock.holds (tenant, run_id, root, reason, actor)
    VALUES (p_tenant, p_run, v_root, p_reason, p_actor) ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN 1 ELSE 0 END;
END
$$;

-- Whether an ended run may go: all of its family has ended before that time, nothing of it is on hold, its session was
-- handed on, and what its end asks for was done.
CREATE FUNCTION penstock.may_go(p_run penstock.runs, p_before timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN p_run.status = 'ended' AND p_run.pruned_at IS NULL AND p_run.ended_at <= p_before
        AND NOT p_run.follow_up AND p_run.turn <> 1
        AND NOT EXISTS (
            SELECT FROM penstock.holds h
            WHERE h.tenant = p_run.tenant AND (h.run_id = penstock.nil() OR h.root = p_run.root)
        )
        AND NOT EXISTS (
            SELECT FROM penstock.runs f
            WHERE f.tenant = p_run.tenant AND f.root = p_run.root AND f.parent IS NOT NULL
              AND (f.status <> 'ended' OR f.ended_at > p_before)
        )
        AND NOT EXISTS (
            SELECT FROM penstock.runs f
            WHERE f.tenant = p_run.tenant AND f.id = p_run.root AND (f.status <> 'ended' OR f.ended_at > p_before)
        );
END
$$;

CREATE FUNCTION penstock.mark_pruned(
    p_tenant text, p_runs uuid[], p_seqs integer[], p_heads bytea[], p_keyed boolean[], p_before bigint,
    p_archive text, p_folder text, p_size bigint
) RETURNS uuid[]
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    v_now  timestamptz := clock_timestamp();
    v_held uuid[];
    v_runs uuid[];
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    IF p_archive <> '' AND EXISTS (
        SELECT FROM penstock.archives a WHERE a.tenant = p_tenant AND a.name = p_archive
    ) THEN  -- sent again
        RETURN ARRAY(
            SELECT t.run_id FROM penstock.tombstones t WHERE t.tenant = p_tenant AND t.archive = p_archive
        );
    END IF;
    v_held := ARRAY(
        SELECT r.id FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = ANY (p_runs)
        ORDER BY r.id FOR NO KEY UPDATE SKIP LOCKED
    );
    WITH marked AS (
        UPDATE penstock.runs r SET pruned_at = v_now
        FROM unnest(p_runs, p_seqs, p_heads, p_keyed) AS n(id, seq, head, keyed)
        WHERE r.tenant = p_tenant AND r.id = ANY (v_held) AND r.id = n.id AND r.last_seq = n.seq AND r.head = n.head
          AND penstock.may_go(r, penstock.from_us(p_before))
          AND (NOT n.keyed OR r.subject_key IS NOT NULL OR EXISTS (
              SELECT FROM penstock.subjects s
              WHERE s.tenant = r.tenant AND s.subject = r.subject AND s.key IS NOT NULL
          ))
        RETURNING r.*
    ), stones AS (
        INSERT INTO penstock.tombstones (tenant, run_id, agent, ended_at, last_seq, head, archive, named, pruned_at)
        SELECT m.tenant, m.id, m.agent, m.ended_at, m.last_seq, m.head, p_archive, m.subject <> m.id::text, v_now
        FROM marked m
    )
    SELECT coalesce(array_agg(m.id ORDER BY m.id), '{}') INTO v_runs FROM marked m;
    IF p_archive <> '' THEN  -- also when nothing was marked: from now on nothing will be with that name
        INSERT INTO penstock.archives (tenant, name, folder, size, runs)
        VALUES (p_tenant, p_archive, p_folder, p_size, cardinality(v_runs));
    END IF;
    RETURN v_runs;
END
$$;

-- What follows need not be flushed: lost, it is done again.

-- Erases payloads and keys of marked runs that are their own subjects; true when there is nothing more to do.
CREATE FUNCTION penstock.empty_runs(p_tenant text, p_limit integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_left integer := p_limit;
    v_run  uuid;
    v_gone integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    IF penstock.tenant_held(p_tenant) THEN
        RETURN true;
    END IF;
    FOR v_run IN
        SELECT t.run_id FROM penstock.tombstones t
        WHERE t.tenant = p_tenant AND NOT t.named AND t.emptied_at IS NULL
        ORDER BY t.run_id LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        DELETE FROM penstock.payloads p WHERE (p.tenant, p.subject, p.address) IN (
            SELECT q.tenant, q.subject, q.address FROM penstock.payloads q
            WHERE q.tenant = p_tenant AND q.subject = v_run::text LIMIT v_left
        );
        GET DIAGNOSTICS v_gone = ROW_COUNT;
        v_left := v_left - v_gone;
        IF v_left <= 0 THEN
            RETURN false;
        END IF;
        DELETE FROM penstock.inbox x WHERE x.tenant = p_tenant AND x.run_id = v_run;
        PERFORM penstock.drop_snapshot(p_tenant, v_run);
        UPDATE penstock.runs r SET subject_key = NULL WHERE r.tenant = p_tenant AND r.id = v_run;
        UPDATE penstock.tombstones t SET emptied_at = clock_timestamp() WHERE t.tenant = p_tenant AND t.run_id = v_run;
        v_left := v_left - 1;
        IF v_left <= 0 THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;

-- Erases payloads of a subject that several runs share. Under the lock of erasures, exclusively: a payload that a
-- submission found stored, and did not store again, is committed with its run, and the run is seen here. A run that is
-- executed may have stored one before the event that refers to it; then nothing is erased.
CREATE FUNCTION penstock.drop_payloads(
    p_tenant text, p_subject text, p_addresses bytea[], p_runs bigint, p_events bigint
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    IF penstock.tenant_held(p_tenant) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(penstock.erasure_lock());
    IF (
        SELECT count(*) <> p_runs OR coalesce(sum(r.last_seq), 0) <> p_events
            OR coalesce(bool_or(r.status = 'running'), false)
        FROM penstock.runs r
        WHERE r.tenant = p_tenant AND r.subject = p_subject AND r.pruned_at IS NULL AND r.subject <> r.id::text
    ) THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.payloads p
    WHERE p.tenant = p_tenant AND p.subject = p_subject AND p.address = ANY (p_addresses);
    RETURN true;
END
$$;

CREATE FUNCTION penstock.set_emptied(p_tenant text, p_runs uuid[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    UPDATE penstock.tombstones t SET emptied_at = clock_timestamp()
    WHERE t.tenant = p_tenant AND t.run_id = ANY (p_runs) AND t.emptied_at IS NULL;
    DELETE FROM penstock.inbox x WHERE x.tenant = p_tenant AND x.run_id = ANY (p_runs);
    PERFORM penstock.drop_snapshot(p_tenant, n.id) FROM unnest(p_runs) AS n(id);
END
$$;

CREATE FUNCTION penstock.sweep_events(p_tenant text, p_before bigint, p_limit integer) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_left integer := p_limit;
    v_run  uuid;
    v_gone integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    IF penstock.tenant_held(p_tenant) THEN
        RETURN true;
    END IF;
    FOR v_run IN
        SELECT t.run_id FROM penstock.tombstones t
        WHERE t.tenant = p_tenant AND t.emptied_at IS NOT NULL AND t.swept_at IS NULL
          AND t.pruned_at <= penstock.from_us(p_before)
        ORDER BY t.pruned_at LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        DELETE FROM penstock.events e WHERE e.tenant = p_tenant AND e.run_id = v_run AND e.seq >= (
            SELECT min(l.seq) FROM (
                SELECT f.seq FROM penstock.events f WHERE f.tenant = p_tenant AND f.run_id = v_run
                ORDER BY f.seq DESC LIMIT v_left
            ) AS l
        );
        GET DIAGNOSTICS v_gone = ROW_COUNT;
        v_left := v_left - v_gone;
        IF v_left <= 0 THEN
            RETURN false;
        END IF;
        UPDATE penstock.tombstones t SET swept_at = clock_timestamp() WHERE t.tenant = p_tenant AND t.run_id = v_run;
        v_left := v_left - 1;
        IF v_left <= 0 THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;

-- Whether no run with an id in that range is kept, or waits to be emptied, or is a held tenant's.
CREATE FUNCTION penstock.range_is_gone(p_low uuid, p_high uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off
    SET enable_bitmapscan = off
AS $$
DECLARE
    v_tenant text;
    v_agent  text;
BEGIN
    SELECT min(r.tenant) INTO v_tenant FROM penstock.runs r;
    WHILE v_tenant IS NOT NULL LOOP
        IF EXISTS (
            SELECT FROM penstock.runs r
            WHERE r.tenant = v_tenant AND r.status <> 'ended' AND r.id >= p_low AND r.id < p_high
        ) OR EXISTS (
            SELECT FROM penstock.tombstones t
            WHERE t.tenant = v_tenant AND t.emptied_at IS NULL AND t.run_id >= p_low AND t.run_id < p_high
        ) OR (penstock.tenant_held(v_tenant) AND EXISTS (
            SELECT FROM penstock.tombstones t
            WHERE t.tenant = v_tenant AND t.run_id >= p_low AND t.run_id < p_high
        )) THEN
            RETURN false;
        END IF;
        SELECT min(r.agent) INTO v_agent FROM penstock.runs r
        WHERE r.tenant = v_tenant AND r.status = 'ended' AND r.pruned_at IS NULL;
        WHILE v_agent IS NOT NULL LOOP
            IF EXISTS (
                SELECT FROM penstock.runs r
                WHERE r.tenant = v_tenant AND r.agent = v_agent AND r.status = 'ended' AND r.pruned_at IS NULL
                  AND r.id >= p_low AND r.id < p_high
            ) THEN
                RETURN false;
            END IF;
            SELECT min(r.agent) INTO v_agent FROM penstock.runs r
            WHERE r.tenant = v_tenant AND r.agent > v_agent AND r.status = 'ended' AND r.pruned_at IS NULL;
        END LOOP;
        SELECT min(r.tenant) INTO v_tenant FROM penstock.runs r WHERE r.tenant > v_tenant;
    END LOOP;
    RETURN true;
END
$$;

-- Deletes rows of runs that were swept; their sums are kept. A family goes from its leaves, so no reference dangles.
CREATE FUNCTION penstock.forget_runs(p_tenant text, p_agent text, p_before bigint, p_limit integer) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_gone integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.retention_lock());
    IF penstock.tenant_held(p_tenant) THEN
        RETURN 0;
    END IF;
    WITH chosen AS MATERIALIZED (
        SELECT t.run_id FROM penstock.tombstones t
        WHERE t.tenant = p_tenant AND t.agent = p_agent AND t.swept_at IS NOT NULL
          AND t.ended_at <= penstock.from_us(p_before)
          AND NOT EXISTS (
              SELECT FROM penstock.runs c
              WHERE c.tenant = p_tenant AND c.parent = t.run_id AND c.root = (
                  SELECT r.root FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = t.run_id
              )
          )
        ORDER BY t.ended_at LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), stones AS (
        DELETE FROM penstock.tombstones t USING chosen c WHERE t.tenant = p_tenant AND t.run_id = c.run_id
    ), gone AS (
        DELETE FROM penstock.runs r USING chosen c
        WHERE r.tenant = p_tenant AND r.id = c.run_id AND r.pruned_at IS NOT NULL
        RETURNING r.*
    ), counted AS (
        INSERT INTO penstock.forgotten AS f (
            tenant, month, agent, outcome, runs, steps, model_calls, tool_calls, tokens, nano
        )
        SELECT g.tenant, to_char(g.ended_at AT TIME ZONE 'UTC', 'YYYY-MM'), g.agent, coalesce(g.outcome, ''), count(*),
               sum(g.steps), sum(g.model_calls), sum(g.tool_calls), sum(g.tokens), sum(g.nano)
        FROM gone g GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        ON CONFLICT (tenant, month, agent, outcome) DO UPDATE SET
            runs = f.runs + excluded.runs, steps = f.steps + excluded.steps,
            model_calls = f.model_calls + excluded.model_calls, tool_calls = f.tool_calls + excluded.tool_calls,
            tokens = f.tokens + excluded.tokens, nano = f.nano + excluded.nano
    )
    SELECT count(*) INTO v_gone FROM gone;
    RETURN v_gone;
END
$$;

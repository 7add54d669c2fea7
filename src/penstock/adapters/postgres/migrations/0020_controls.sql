-- Stops by scope: all runs of an agent, a release, a session or a customer, and pauses of a tenant or of everything.
--
-- They carry a run id of zeros, so that workers of older releases, which take every control without a run for a kill of
-- the whole tenant, leave them alone; for those workers, too, the functions below refuse intents and give out no runs.
-- A kill of a tenant or of everything keeps its first form, which they know.

ALTER TABLE penstock.controls
    ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT ''
        CHECK (scope IN ('', 'agent', 'release', 'session', 'customer', 'tenant', 'everything')),
    ADD COLUMN name  text COLLATE "C" NOT NULL DEFAULT '',
    ADD CHECK (scope = '' OR (run_id = '00000000-0000-0000-0000-000000000000' AND action IN ('kill', 'pause')));
CREATE INDEX controls_scoped ON penstock.controls ((coalesce(tenant, '')), scope, name)
    WHERE scope <> '' AND lifted_at IS NULL;

-- Whether there is any at all: what is asked on the paths that must cost nothing while there is none.
CREATE FUNCTION penstock.any_scoped() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM penstock.controls c WHERE c.scope <> '' AND c.lifted_at IS NULL)
$$;

-- Of the stops by scope that hold for a run of these names the strongest, if there is one. Names that are not given
-- are empty, and no control has an empty name but those of everything.
CREATE FUNCTION penstock.scoped_stop(
    p_tenant text, p_agent text, p_release text, p_session text, p_customer text
) RETURNS TABLE (action text, id uuid) LANGUAGE sql STABLE AS $$
    SELECT c.action, c.id
    FROM (VALUES
        ('', 'everything', ''), (p_tenant, 'tenant', p_tenant), (p_tenant, 'agent', p_agent),
        (p_tenant, 'release', p_release), (p_tenant, 'session', p_session), (p_tenant, 'customer', p_customer)
    ) AS s(tenant, scope, name)
    JOIN penstock.controls c
      ON coalesce(c.tenant, '') = s.tenant COLLATE "C" AND c.scope = s.scope AND c.name = s.name
      AND c.scope <> '' AND c.lifted_at IS NULL
    ORDER BY c.action, c.id  -- kill before pause
    LIMIT 1
$$;

-- What holds for a run: the strongest of what was put upon itself and of what its scopes bring.
CREATE FUNCTION penstock.stronger(p_own text, p_scoped text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN p_own = 'kill' OR p_scoped = 'kill' THEN 'kill' ELSE coalesce(p_own, p_scoped) END;

-- As before, and stops by scope refuse intents, too. What they are of never changes while a run is running, so it is
-- read before the rows are locked.
CREATE OR REPLACE FUNCTION penstock.append(
    -- one element a batch; p_tenant has one element when all are of one tenant; p_end counts events up to its end
    p_tenant text[], p_run uuid[], p_epoch integer[], p_last integer[], p_count integer[], p_end integer[],
    p_intent integer[], p_summary bigint[],  -- p_summary: seven a batch
    -- one element an event; *_of is the position of its batch, from 1; p_from and p_size say where in p_bodies it is
    p_of integer[], p_seq integer[], p_from integer[], p_size integer[], p_bodies bytea, p_hashes bytea,
    p_blocking boolean,
    -- rare, NULL when there are none
    p_change_of integer[], p_change_status text[], p_change_wake bigint[], p_change_waiting bytea[],
    p_change_outcome text[], p_change_code text[],
    p_letter_of integer[], p_letter text[],
    p_post_of integer[], p_post_tenant text[], p_post_run uuid[], p_post_dedup text[], p_post_kind text[],
    p_post_body bytea[],
    p_child_of integer[], p_child_id uuid[], p_child_agent text[], p_child_release text[], p_child_env text[],
    p_child_format integer[], p_child_subject text[], p_child_subject_key bytea[], p_child_key text[],
    p_child_digest text[], p_child_session text[], p_child_priority integer[], p_child_path text[],
    p_child_root uuid[], p_child_deadline bigint[], p_child_tags text[], p_child_body bytea[], p_child_hash bytea[],
    OUT answers smallint[], OUT letters integer[], OUT stops text[], OUT at_us bigint
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_mergejoin = off
    SET enable_hashjoin = off
AS $$
DECLARE
    v_n           integer := cardinality(p_run);
    v_tenant      text[] := p_tenant;
    v_posts       integer := coalesce(cardinality(p_post_of), 0);
    v_everything  boolean;
    v_tenants     text[];
    v_any_scoped  boolean;
    v_scoped      text[];              -- by batch; NULL when there is none in force
    v_row         record;
    v_stop        text;
    v_ok          boolean[] := array_fill(false, ARRAY[v_n]);
    v_plain       boolean[];           -- accepted, and nothing changes but the summary
    v_again       integer[] := '{}';   -- batches whose row does not fit: re-sent, or out of place
    v_found       integer := 0;
    v_accepted    integer := 0;
    v_parent_held boolean[];           -- by post
    v_at          timestamptz;
    i             integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF cardinality(p_tenant) = 1 THEN
        v_tenant := array_fill(p_tenant[1], ARRAY[v_n]);
    END IF;
    answers := array_fill(0::smallint, ARRAY[v_n]);
    letters := array_fill(0, ARRAY[v_n]);
    stops := array_fill(NULL::text, ARRAY[v_n]);

    PERFORM pg_advisory_xact_lock_shared(penstock.append_lock());

    SELECT bool_or(c.tenant IS NULL), array_agg(c.tenant), penstock.any_scoped()
    INTO v_everything, v_tenants, v_any_scoped
    FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL;
    v_everything := coalesce(v_everything, false);
    v_tenants := coalesce(v_tenants, '{}');
    IF v_any_scoped THEN
        SELECT array_agg(s.action ORDER BY b.i) INTO v_scoped
        FROM unnest(v_tenant, p_run) WITH ORDINALITY AS b(tenant, run, i)
        LEFT JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        LEFT JOIN LATERAL penstock.scoped_stop(r.tenant, r.agent, r.release, r.session, r.customer) AS s ON true;
    END IF;

    IF p_blocking THEN  -- what is locked here is not skipped below
        PERFORM 1
        FROM unnest(v_tenant || p_post_tenant, p_run || p_post_run) AS b(tenant, run)
        JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        ORDER BY r.id
        FOR NO KEY UPDATE OF r;
    END IF;
    IF v_posts > 0 THEN
        v_parent_held := array_fill(false, ARRAY[v_posts]);
    END IF;
    FOR v_row IN
        SELECT b.i, r.epoch, r.last_seq, r.status, r.stop, r.letters
        FROM unnest(v_tenant || p_post_tenant, p_run || p_post_run) WITH ORDINALITY AS b(tenant, run, i)
        JOIN penstock.runs r ON r.tenant = b.tenant AND r.id = b.run
        ORDER BY r.id
        FOR NO KEY UPDATE OF r SKIP LOCKED
    LOOP
        i := v_row.i;
        IF i > v_n THEN
            v_parent_held[i - v_n] := true;
            CONTINUE;
        END IF;
        v_found := v_found + 1;
        v_stop := CASE
            WHEN v_everything OR v_tenant[i] = ANY (v_tenants) THEN 'kill'
            WHEN v_any_scoped THEN penstock.stronger(v_row.stop, v_scoped[i])
            ELSE v_row.stop
        END;
        letters[i] := v_row.letters;
        stops[i] := v_stop;
        IF v_row.epoch = p_epoch[i] AND v_row.last_seq = p_last[i] AND v_row.status = 'running' THEN
            IF v_stop IS NOT NULL AND p_intent[i] = 1 THEN
                answers[i] := 5;
            ELSE
                answers[i] := 1;
                v_ok[i] := true;
                v_accepted := v_accepted + 1;
            END IF;
        ELSIF v_row.epoch = p_epoch[i] AND v_row.last_seq = p_last[i] AND p_count[i] = 0 THEN
            answers[i] := 1;  -- a move without events that was made before
        ELSE
            answers[i] := CASE WHEN v_row.epoch = p_epoch[i] AND v_row.status = 'running' THEN 2 ELSE 3 END;
            v_again := v_again || i;
        END IF;
    END LOOP;

    IF v_found < v_n THEN
        FOR i IN 1..v_n LOOP
            IF answers[i] = 0 AND NOT EXISTS (
                SELECT FROM penstock.runs r WHERE r.tenant = v_tenant[i] AND r.id = p_run[i]
            ) THEN
                answers[i] := 4;
            END IF;
        END LOOP;
    END IF;
    FOREACH i IN ARRAY v_again LOOP
        IF EXISTS (
            SELECT FROM penstock.events e
            WHERE e.tenant = v_tenant[i] AND e.run_id = p_run[i] AND e.seq = p_last[i] + p_count[i]
              AND e.hash = substring(p_hashes FROM p_end[i] * 32 - 31 FOR 32) AND p_count[i] > 0
        ) THEN
            answers[i] := 1;
        END IF;
    END LOOP;
    FOR k IN 1..v_posts LOOP  -- an end and its letter are written together or not at all
        i := p_post_of[k];
        IF v_ok[i] AND NOT v_parent_held[k] AND EXISTS (
            SELECT FROM penstock.runs r WHERE r.tenant = p_post_tenant[k] AND r.id = p_post_run[k]
        ) THEN
            answers[i] := 0;
            v_ok[i] := false;
            v_accepted := v_accepted - 1;
        END IF;
    END LOOP;

    v_at := clock_timestamp();
    at_us := penstock.to_us(v_at);
    IF v_accepted = 0 THEN
        RETURN;
    END IF;

    IF v_posts > 0 THEN
        WITH posted AS (
            INSERT INTO penstock.inbox (tenant, run_id, dedup, at, kind, body)
            SELECT p.tenant, p.run, p.dedup, v_at, p.kind, p.body
            FROM unnest(p_post_of, p_post_tenant, p_post_run, p_post_dedup, p_post_kind, p_post_body)
                AS p(i, tenant, run, dedup, kind, body)
            JOIN penstock.runs r ON r.tenant = p.tenant AND r.id = p.run AND r.status <> 'ended'
            WHERE v_ok[p.i]
            ON CONFLICT DO NOTHING
            RETURNING tenant, run_id
        ), added AS MATERIALIZED (
            SELECT tenant, run_id, count(*)::integer AS count FROM posted GROUP BY tenant, run_id
        )
        UPDATE penstock.runs r
        SET letters = r.letters + a.count,
            status = CASE r.status WHEN 'parked' THEN 'queued' ELSE r.status END,
            wake_at = CASE r.status WHEN 'parked' THEN v_at ELSE r.wake_at END
        FROM added a WHERE r.tenant = a.tenant AND r.id = a.run_id;
    END IF;
    IF p_letter_of IS NOT NULL THEN
        WITH consumed AS (
            UPDATE penstock.inbox x SET consumed = true
            FROM unnest(p_letter_of, p_letter) AS l(i, dedup)
            WHERE v_ok[l.i] AND x.tenant = v_tenant[l.i] AND x.run_id = p_run[l.i] AND x.dedup = l.dedup
              AND NOT x.consumed
            RETURNING x.tenant, x.run_id
        ), taken AS MATERIALIZED (
            SELECT tenant, run_id, count(*)::integer AS count FROM consumed GROUP BY tenant, run_id
        )
        UPDATE penstock.runs r SET letters = r.letters - t.count
        FROM taken t WHERE r.tenant = t.tenant AND r.id = t.run_id;
    END IF;

    v_plain := v_ok;
    IF p_change_of IS NOT NULL THEN
        FOREACH i IN ARRAY p_change_of LOOP
            v_plain[i] := false;
        END LOOP;
        UPDATE penstock.runs r
        SET last_seq = p_last[c.i] + p_count[c.i],
            head = CASE p_count[c.i]
                WHEN 0 THEN r.head
                ELSE substring(p_hashes FROM p_end[c.i] * 32 - 31 FOR 32)
            END,
            claims = 0,
            steps = p_summary[c.i * 7 - 6], model_calls = p_summary[c.i * 7 - 5], tool_calls = p_summary[c.i * 7 - 4],
            tokens = p_summary[c.i * 7 - 3], nano = p_summary[c.i * 7 - 2], reserved_nano = p_summary[c.i * 7 - 1],
            open_intents = p_summary[c.i * 7],
            waiting = coalesce(c.waiting, r.waiting),
            status = CASE
                WHEN c.status = 'parked' AND (r.letters > 0 OR r.stop IN ('cancel', 'kill')) THEN 'queued'
                ELSE coalesce(c.status, r.status)
            END,
            wake_at = CASE
                WHEN c.status = 'parked' AND (r.letters > 0 OR r.stop IN ('cancel', 'kill')) THEN v_at
                WHEN c.status = 'parked' THEN penstock.from_us(c.wake)
                WHEN c.status = 'queued' THEN coalesce(penstock.from_us(c.wake), v_at)
                WHEN c.status IS NULL THEN r.wake_at
            END,
            worker = CASE WHEN c.status IS NULL THEN r.worker END,
            ended_at = CASE WHEN c.status = 'ended' THEN v_at END,
            outcome = c.outcome,
            code = coalesce(c.code, '')
        FROM unnest(
            p_change_of, p_change_status, p_change_wake, p_change_waiting, p_change_outcome, p_change_code
        ) AS c(i, status, wake, waiting, outcome, code)
        WHERE v_ok[c.i] AND r.tenant = v_tenant[c.i] AND r.id = p_run[c.i];
        DELETE FROM penstock.inbox x
        USING unnest(p_change_of, p_change_status) AS c(i, status)
        WHERE v_ok[c.i] AND c.status = 'ended' AND x.tenant = v_tenant[c.i] AND x.run_id = p_run[c.i]
          AND x.kind <> 'settle';
    END IF;
    UPDATE penstock.runs r
    SET last_seq = b.last + b.count,
        head = CASE b.count WHEN 0 THEN r.head ELSE substring(p_hashes FROM b."end" * 32 - 31 FOR 32) END,
        claims = 0,
        steps = p_summary[b.i * 7 - 6], model_calls = p_summary[b.i * 7 - 5], tool_calls = p_summary[b.i * 7 - 4],
        tokens = p_summary[b.i * 7 - 3], nano = p_summary[b.i * 7 - 2], reserved_nano = p_summary[b.i * 7 - 1],
        open_intents = p_summary[b.i * 7]
    FROM unnest(v_tenant, p_run, p_last, p_count, p_end) WITH ORDINALITY AS b(tenant, run, last, count, "end", i)
    WHERE v_plain[b.i] AND r.tenant = b.tenant AND r.id = b.run;

    IF p_child_of IS NOT NULL THEN
        PERFORM penstock.create_runs(
            array_agg(v_tenant[c.i]), array_agg(c.id), array_agg(c.agent), array_agg(c.release), array_agg(c.env),
            array_agg(c.format), array_agg(c.subject), array_agg(c.subject_key), array_agg(c.key),
            array_agg(c.digest), array_agg(c.session), array_agg(c.priority), array_agg(p_run[c.i]),
            array_agg(c.path), array_agg(c.root), array_agg(c.deadline), array_agg(c.tags), array_agg(c.body),
            array_agg(c.hash)
        )
        FROM unnest(
            p_child_of, p_child_id, p_child_agent, p_child_release, p_child_env, p_child_format, p_child_subject,
            p_child_subject_key, p_child_key, p_child_digest, p_child_session, p_child_priority, p_child_path,
            p_child_root, p_child_deadline, p_child_tags, p_child_body, p_child_hash
        ) AS c(
            i, id, agent, release, env, format, subject, subject_key, key, digest, session, priority, path, root,
            deadline, tags, body, hash
        )
        WHERE v_ok[c.i]
        HAVING count(*) > 0;
    END IF;

    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    SELECT v_tenant[e.i], p_run[e.i], e.seq, v_at, substring(p_bodies FROM e.start FOR e.size),
           substring(p_hashes FROM e.k::integer * 32 - 31 FOR 32)
    FROM unnest(p_of, p_seq, p_from, p_size) WITH ORDINALITY AS e(i, seq, start, size, k)
    WHERE v_ok[e.i];

    IF v_posts > 0 OR p_letter_of IS NOT NULL THEN
        FOR i IN 1..v_n LOOP
            letters[i] := (SELECT r.letters FROM penstock.runs r WHERE r.tenant = v_tenant[i] AND r.id = p_run[i]);
        END LOOP;
    END IF;
END
$$;

-- By which control a run was put aside; NULL: before this migration.
ALTER TABLE penstock.runs ADD COLUMN aside_by uuid;
DROP INDEX penstock.runs_aside;
CREATE INDEX runs_aside ON penstock.runs ((coalesce(aside_by, '00000000-0000-0000-0000-000000000000'))) WHERE aside;

-- Takes out of the claimers' way what stands at the front of the queues and may not be claimed, and puts back what is
-- no longer held, some thousand at a time. Runs that were killed or cancelled themselves may be claimed under a stop by
-- scope: somebody has to end them.
CREATE OR REPLACE FUNCTION penstock.set_aside(p_releases text[], p_tenants text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_sort = off
    SET enable_incremental_sort = off
AS $$
#variable_conflict use_column
DECLARE
    v_any_scoped boolean := penstock.any_scoped();
BEGIN
    IF EXISTS (SELECT FROM penstock.runs r WHERE r.aside) THEN
        UPDATE penstock.runs r SET aside = false, aside_by = NULL
        FROM (
            WITH RECURSIVE t AS (  -- from control to control in the index
                (
                    SELECT coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000') AS by
                    FROM penstock.runs k WHERE k.aside
                    ORDER BY coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000') LIMIT 1
                )
                UNION ALL
                SELECT (
                    SELECT coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000')
                    FROM penstock.runs k
                    WHERE k.aside AND coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000') > t.by
                    ORDER BY coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000') LIMIT 1
                )
                FROM t WHERE t.by IS NOT NULL
            )
            SELECT b.tenant, b.id
            FROM (
                SELECT t.by FROM t
                WHERE t.by IS NOT NULL
                  AND NOT EXISTS (SELECT FROM penstock.controls c WHERE c.id = t.by AND c.lifted_at IS NULL)
                OFFSET 0  -- before any of their runs is looked at
            ) AS lifted
            CROSS JOIN LATERAL (
                SELECT k.tenant, k.id FROM penstock.runs k
                WHERE k.aside AND coalesce(k.aside_by, '00000000-0000-0000-0000-000000000000') = lifted.by LIMIT 1000
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS b
        ) AS back
        WHERE r.tenant = back.tenant AND r.id = back.id;
    END IF;
    IF p_tenants = '{}' AND NOT v_any_scoped THEN
        RETURN;
    END IF;
    FOR i IN 1..8 LOOP
        UPDATE penstock.runs r SET aside = true, aside_by = k.by
        FROM (
            SELECT f.tenant, f.id, held.by
            FROM unnest(p_releases) AS offered(release)
            CROSS JOIN LATERAL (
                SELECT q.tenant, q.id, q.agent, q.session, q.customer, q.stop FROM penstock.runs q
                WHERE q.status = 'queued' AND NOT q.aside AND (q.turn < 2 OR q.stop IN ('cancel', 'kill'))
                  AND (q.stop IS NULL OR q.stop <> 'pause') AND q.release = offered.release
                ORDER BY q.rank, q.id LIMIT 500
            ) AS f
            CROSS JOIN LATERAL (
                SELECT CASE
                    WHEN f.tenant = ANY (p_tenants) THEN (
                        SELECT c.id FROM penstock.controls c
                        WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND c.tenant = f.tenant LIMIT 1
                    )
                    WHEN v_any_scoped AND f.stop IS NULL THEN (
                        SELECT s.id
                        FROM penstock.scoped_stop(f.tenant, f.agent, offered.release, f.session, f.customer) AS s
                    )
                END AS by
            ) AS held
            WHERE held.by IS NOT NULL
        ) AS k
        JOIN LATERAL (
            SELECT h.id FROM penstock.runs h WHERE h.tenant = k.tenant AND h.id = k.id FOR NO KEY UPDATE SKIP LOCKED
        ) AS taken ON true
        WHERE r.tenant = k.tenant AND r.id = k.id AND r.status = 'queued';
        EXIT WHEN NOT FOUND;
    END LOOP;
END
$$;

-- As before, and what a stop by scope holds is not given out.
CREATE OR REPLACE FUNCTION penstock.claim(p_worker uuid, p_releases text[], p_limit integer, p_format integer)
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
    SET enable_sort = off
    SET enable_incremental_sort = off
AS $$
#variable_conflict use_column
DECLARE
    v_now        timestamptz := clock_timestamp();
    v_everything boolean;
    v_tenants    text[];
    v_scoped     boolean;
    v_taken      integer;
    v_bucket     bigint := floor(extract(epoch FROM clock_timestamp()) / 10)::bigint;
    v_handover   boolean;
    v_aside      boolean;
BEGIN
    PERFORM 1 FROM penstock.workers w WHERE w.id = p_worker AND w.lease_until > v_now;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT bool_or(c.tenant IS NULL), coalesce(array_agg(c.tenant), '{}'), penstock.any_scoped()
    INTO v_everything, v_tenants, v_scoped
    FROM penstock.controls c WHERE c.run_id IS NULL AND c.lifted_at IS NULL;
    IF v_everything OR (v_scoped AND EXISTS (SELECT FROM penstock.scoped_stop('', '', '', '', ''))) THEN
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
    SELECT EXISTS (SELECT FROM penstock.runs r WHERE r.turn = 1 AND r.status = 'ended'),
           EXISTS (SELECT FROM penstock.runs r WHERE r.aside)
    INTO v_handover, v_aside;
    IF v_handover THEN
        PERFORM penstock.hand_over(greatest(p_limit, 256));
    END IF;
    IF v_aside OR v_scoped OR v_tenants <> '{}' THEN
        PERFORM penstock.set_aside(p_releases, v_tenants);
    END IF;

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
              AND NOT (v_scoped AND q.stop IS NULL AND EXISTS (
                  SELECT FROM penstock.scoped_stop(q.tenant, q.agent, q.release, q.session, q.customer)
              ))
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
        SELECT d.tenant, d.id, d.rank - offered.tag AS distance
        FROM (
            SELECT o.release, coalesce(
                (SELECT max(p.tag) FROM penstock.pace p WHERE p.release = o.release), 0
            ) AS tag
            FROM unnest(p_releases) AS o(release) OFFSET 0
        ) AS offered
        CROSS JOIN LATERAL (
            SELECT q.tenant, q.id, q.rank FROM penstock.runs q
            WHERE q.status = 'queued' AND NOT q.aside AND (q.turn < 2 OR q.stop IN ('cancel', 'kill'))
              AND (q.stop IS NULL OR q.stop <> 'pause') AND q.release = offered.release AND q.wake_at <= v_now
              AND q.format <= p_format AND NOT q.tenant = ANY (v_tenants)
              AND NOT (v_scoped AND q.stop IS NULL AND EXISTS (
                  SELECT FROM penstock.scoped_stop(q.tenant, q.agent, q.release, q.session, q.customer)
              ))
            ORDER BY q.rank, q.id LIMIT p_limit - v_taken
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS d
        ORDER BY distance, d.id LIMIT p_limit - v_taken
    ), taken AS (
        UPDATE penstock.runs r
        SET epoch = r.epoch + 1, worker = p_worker, claims = r.claims + 1, status = 'running'
        FROM due WHERE r.tenant = due.tenant AND r.id = due.id
        RETURNING r.*, due.distance
    ), noted AS (  -- first claims move the virtual times, and are counted for the paces
        INSERT INTO penstock.pace AS p
            (release, worker, agent, tag, bucket, start_tag, before_tag, taken, before_taken, since, waited)
        SELECT f.release, p_worker, min(f.agent), max(f.rank + f.priority * penstock.priority_unit()), v_bucket,
               min(f.rank + f.priority * penstock.priority_unit()), min(f.rank + f.priority * penstock.priority_unit()),
               count(*), 0, v_now, greatest(0, penstock.to_us(v_now) - penstock.to_us(max(f.created_at)))
        FROM taken f WHERE f.epoch = 1 GROUP BY f.release
        ON CONFLICT ON CONSTRAINT pace_pkey DO UPDATE SET
            tag = greatest(p.tag, excluded.tag),
            bucket = v_bucket,
            start_tag = CASE v_bucket - p.bucket WHEN 0 THEN p.start_tag ELSE p.tag END,
            before_tag = CASE v_bucket - p.bucket WHEN 0 THEN p.before_tag WHEN 1 THEN p.start_tag ELSE p.tag END,
            taken = CASE v_bucket - p.bucket WHEN 0 THEN p.taken ELSE 0 END + excluded.taken,
            before_taken = CASE v_bucket - p.bucket WHEN 0 THEN p.before_taken WHEN 1 THEN p.taken ELSE 0 END,
            since = CASE WHEN v_bucket - p.bucket > 1 THEN v_now ELSE p.since END,
            waited = excluded.waited
    )
    SELECT t.tenant, t.id, t.epoch, t.last_seq, t.head, t.agent, t.release, t.subject,
           coalesce(t.subject_key, s.key, ''), t.parent, t.parent_path, t.claims, t.stop, t.deadline, t.root,
           t.priority, t.wake_at, penstock.to_us(v_now)
    FROM taken t LEFT JOIN penstock.subjects s ON s.tenant = t.tenant AND s.subject = t.subject
    ORDER BY t.distance, t.id;
END
$$;

-- As before, and a run that waits aside comes back to be ended.
CREATE OR REPLACE FUNCTION penstock.stop_runs(p_tenant text, p_runs uuid[], p_stop text, p_wait_ms integer)
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
        END,
        aside = r.aside AND p_stop = 'pause'
    WHERE r.tenant = p_tenant AND r.id = ANY (p_runs)
    RETURNING r.id, r.root;
END
$$;

-- As before, and a kill by scope is one.
CREATE OR REPLACE FUNCTION penstock.put_document(
    p_tenant text, p_kind text, p_name text, p_expected bigint, p_run uuid, p_path text, p_epoch integer, p_by text,
    p_subject text, p_codec text, p_size integer, p_digest bytea, p_data bytea, p_keep bigint, p_prune integer,
    OUT answer text, OUT latest bigint, OUT why text
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
AS $$
DECLARE
    v_run   record;
    v_state text;
    v_made  bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.append_lock());
    PERFORM pg_advisory_xact_lock_shared(penstock.erasure_lock());
    latest := 0;
    why := '';
    SELECT d.version, d.state, d.reason INTO latest, v_state, why FROM penstock.documents d
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name FOR NO KEY UPDATE;
    IF NOT FOUND AND p_expected = 0 THEN
        INSERT INTO penstock.documents (tenant, kind, name, version) VALUES (p_tenant, p_kind, p_name, 0)
        ON CONFLICT DO NOTHING;
        SELECT d.version, d.state, d.reason INTO latest, v_state, why FROM penstock.documents d
        WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name FOR NO KEY UPDATE;
    END IF;
    latest := coalesce(latest, 0);
    why := coalesce(why, '');

    -- The shared lock keeps the run with its holder until this write is committed.
    SELECT r.epoch, r.status, r.stop, r.agent, r.release, r.session, r.customer INTO v_run FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.id = p_run FOR SHARE;
    IF NOT FOUND OR v_run.epoch <> p_epoch OR v_run.status <> 'running' THEN
        answer := 'fenced';
    ELSIF EXISTS (
        SELECT FROM penstock.controls c
        WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND (c.tenant IS NULL OR c.tenant = p_tenant)
    ) OR 'kill' = (
        SELECT s.action
        FROM penstock.scoped_stop(p_tenant, v_run.agent, v_run.release, v_run.session, v_run.customer) AS s
    ) THEN
        answer := 'stopped';
        why := 'kill';
    ELSIF v_run.stop IN ('cancel', 'kill') THEN
        answer := 'stopped';
        why := v_run.stop;
    ELSE
        SELECT v.version INTO v_made FROM penstock.document_versions v
        WHERE v.tenant = p_tenant AND v.run_id = p_run AND v.path = p_path AND v.kind = p_kind AND v.name = p_name;
        IF FOUND THEN
            answer := 'written';
            latest := v_made;
        ELSIF v_state = 'quarantined' THEN
            answer := 'quarantined';
        ELSIF latest <> p_expected THEN
            answer := 'conflict';
        END IF;
    END IF;
    IF answer IS NULL THEN
        answer := 'written';
        latest := latest + 1;
        PERFORM penstock.add_document_version(
            p_tenant, p_kind, p_name, latest, p_run, p_path, p_by, p_subject, false, p_codec, p_size, p_digest,
            p_data, p_keep, p_prune
        );
    ELSIF latest = 0 THEN  -- no document comes into being without a version
        DELETE FROM penstock.documents d
        WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name AND d.version = 0;
    END IF;
END
$$;

-- As before, and nothing falls due for agents that are stopped.
CREATE OR REPLACE FUNCTION penstock.take_schedules(p_agents text[], p_lease_us bigint, p_limit integer)
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
              AND NOT EXISTS (SELECT FROM penstock.scoped_stop(s.tenant, offered.agent, '', '', ''))
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

-- As before, and nothing falls due for agents that are stopped.
CREATE OR REPLACE FUNCTION penstock.take_firings(p_agents text[], p_lease_us bigint, p_limit integer)
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
              AND NOT EXISTS (SELECT FROM penstock.scoped_stop(f.tenant, offered.agent, '', '', ''))
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

-- As before, and the name of what was stopped is told.
CREATE OR REPLACE FUNCTION penstock.tell_of_control() RETURNS trigger LANGUAGE plpgsql
AS $$
DECLARE
    v_agent  text;
    v_tenant text;
BEGIN
    IF NEW.scope = 'agent' THEN
        v_agent := NEW.name;
    ELSIF NEW.scope = '' THEN
        SELECT r.agent INTO v_agent FROM penstock.runs r WHERE r.tenant = NEW.tenant AND r.id = NEW.run_id;
    END IF;
    FOR v_tenant IN
        SELECT DISTINCT e.tenant FROM penstock.webhook_endpoints e WHERE NEW.tenant IS NULL OR e.tenant = NEW.tenant
    LOOP
        PERFORM penstock.tell_endpoints(
            v_tenant, 'control.applied', CASE NEW.scope WHEN '' THEN NEW.run_id END, v_agent, NEW.id::text,
            json_build_object(
                'run', CASE NEW.scope WHEN '' THEN NEW.run_id END, 'control', NEW.id, 'action', NEW.action, 'scope',
                CASE
                    WHEN NEW.scope <> '' THEN NEW.scope
                    WHEN NEW.run_id IS NOT NULL THEN 'run'
                    WHEN NEW.tenant IS NULL THEN 'everything'
                    ELSE 'tenant'
                END,
                'name', CASE WHEN NEW.scope = '' AND NEW.run_id IS NULL THEN coalesce(NEW.tenant, '') ELSE NEW.name END,
                'actor', CASE WHEN NEW.tenant IS NULL THEN '' ELSE NEW.actor END
            )::text
        );
    END LOOP;
    RETURN NULL;
END
$$;

-- The queue: bounded, fair among customers, one run of a session at a time.
--
-- Order. Each run has a rank, given once; claimers take the smallest. It is the start tag of start-time fair queueing
-- (P. Goyal, H. Vin, H. Cheng, IEEE/ACM Transactions on Networking 5(5), 1997): the larger of the release's virtual time
-- (the largest tag claimed so far) and the finish tag of the customer's run before it. A run advances its customer's
-- finish tag by queue_unit() / weight. A level of priority is a head start of priority_unit(): a waiting run is overtaken
-- by higher ones only until the virtual time has passed its own tag by the head start, so nobody waits for ever, and no
-- claim sorts. Tags of different releases are not comparable; their distances from the virtual times are.
--
-- Order of locks: queues, then the lock of new flows, then flows, each in the order of its key, by `admit` alone. All
-- others (claimers, appenders, submitters) take flows only where nobody holds them, and wait for none. Sessions come
-- before the insertion of runs; claimers take sessions, too, only where nobody holds them.

CREATE FUNCTION penstock.queue_unit() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000000::bigint;
CREATE FUNCTION penstock.priority_unit() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1000000000::bigint;
CREATE FUNCTION penstock.flows_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 7955997830315;

ALTER TABLE penstock.runs
    ADD COLUMN customer text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN rank     bigint   NOT NULL DEFAULT 0,
    ADD COLUMN turn     smallint NOT NULL DEFAULT 0,  -- 1: holds its session; 2: waits behind its session
    ADD COLUMN place    bigint,                       -- in its session
    ADD COLUMN aside    boolean  NOT NULL DEFAULT false;  -- out of the claimers' way while its tenant is killed

UPDATE penstock.runs SET customer = coalesce(tags ->> 'customer', ''), rank = -priority * penstock.priority_unit()
WHERE status = 'queued' AND (priority <> 0 OR tags ? 'customer');

-- Only `claim` read the old one.
DROP INDEX penstock.runs_queue;
CREATE INDEX runs_due ON penstock.runs (release, rank, id)
    WHERE status = 'queued' AND NOT aside AND (turn < 2 OR stop IN ('cancel', 'kill'))
      AND (stop IS NULL OR stop <> 'pause');
CREATE INDEX runs_depth ON penstock.runs (tenant, agent, customer) WHERE status = 'queued';
CREATE INDEX runs_followers ON penstock.runs (tenant, session, place) WHERE turn = 2 AND status <> 'ended';
-- An end needs no further step to give its session on: the row turns up here.
CREATE INDEX runs_handover ON penstock.runs (tenant, session) WHERE turn = 1 AND status = 'ended';
CREATE INDEX runs_aside ON penstock.runs (tenant) WHERE aside;

CREATE SEQUENCE penstock.session_places;

-- Sessions that a run holds. Idle ones have no row.
CREATE TABLE penstock.sessions (
    tenant  text COLLATE "C" NOT NULL,
    session text NOT NULL,
    holder  uuid,
    PRIMARY KEY (tenant, session)
) WITH (fillfactor = 70);

-- How far each worker has come with each release: the virtual time is the largest of them, the pace what the last two
-- buckets of ten seconds say. A row a worker, so that claimers do not wait for each other. The nil worker stands for all
-- that are gone.
CREATE TABLE penstock.pace (
    release      text COLLATE "C" NOT NULL,
    worker       uuid        NOT NULL,
    agent        text        NOT NULL,
    tag          bigint      NOT NULL,
    bucket       bigint      NOT NULL,
    start_tag    bigint      NOT NULL,  -- when this bucket began
    before_tag   bigint      NOT NULL,  -- when the one before began
    taken        bigint      NOT NULL,
    before_taken bigint      NOT NULL,
    since        timestamptz NOT NULL,  -- it has been taking runs without a long break
    waited       bigint      NOT NULL,  -- microseconds that the last run it took had waited
    PRIMARY KEY (release, worker)
) WITH (fillfactor = 50);

-- Finish tags. One behind the virtual time says no more than none.
CREATE TABLE penstock.flows (
    release  text COLLATE "C" NOT NULL,
    tenant   text COLLATE "C" NOT NULL,
    customer text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    finish   bigint  NOT NULL,
    PRIMARY KEY (release, tenant, customer, priority)
) WITH (fillfactor = 50);

CREATE TABLE penstock.weights (
    tenant   text COLLATE "C" NOT NULL,
    customer text COLLATE "C" NOT NULL,
    weight   double precision NOT NULL CHECK (weight BETWEEN 0.01 AND 1000),
    PRIMARY KEY (tenant, customer)
);

-- Upper bounds of how many runs are queued: raised by each admission, brought down by counting when one is reached.
-- The customer '' stands for all customers of the agent.
CREATE TABLE penstock.queues (
    tenant     text COLLATE "C" NOT NULL,
    agent      text COLLATE "C" NOT NULL,
    customer   text COLLATE "C" NOT NULL,
    upper      bigint      NOT NULL,
    counted_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, agent, customer)
) WITH (fillfactor = 50);

-- A release's virtual time; how far it has come a second and how many runs a second were first claimed, of late (zero
-- when none); and how long the run claimed last had waited.
CREATE FUNCTION penstock.lane(
    p_release text, OUT tag bigint, OUT speed double precision, OUT rate double precision, OUT waited bigint
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now    double precision := extract(epoch FROM clock_timestamp());
    v_bucket bigint := floor(v_now / 10)::bigint;
    v_told   record;
BEGIN
    SELECT max(p.tag) AS tag,
           max(CASE p.bucket
               WHEN v_bucket THEN p.before_tag WHEN v_bucket - 1 THEN p.start_tag ELSE p.tag
           END) AS past,
           sum(CASE p.bucket
               WHEN v_bucket THEN p.taken + p.before_taken WHEN v_bucket - 1 THEN p.taken ELSE 0
           END) AS taken,
           max(p.waited) FILTER (WHERE p.bucket >= v_bucket - 1) AS waited,
           greatest(1, v_now - greatest(
               (v_bucket - 1) * 10, extract(epoch FROM min(p.since) FILTER (WHERE p.bucket >= v_bucket - 1))
           )) AS seconds
    INTO v_told
    FROM penstock.pace p WHERE p.release = p_release;
    tag := coalesce(v_told.tag, 0);
    speed := coalesce((v_told.tag - v_told.past) / v_told.seconds, 0);
    rate := coalesce(v_told.taken / v_told.seconds, 0);
    waited := coalesce(v_told.waited, 0);
END
$$;

CREATE FUNCTION penstock.lane_tag(p_release text) RETURNS bigint LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN coalesce((SELECT max(p.tag) FROM penstock.pace p WHERE p.release = p_release), 0);
END
$$;

-- A run that goes over to another release keeps no tag of its old one: it goes before what is new there.
CREATE FUNCTION penstock.rank_again() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW.release <> OLD.release THEN
        NEW.rank := penstock.lane_tag(NEW.release) - NEW.priority * penstock.priority_unit();
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER runs_rank_again BEFORE UPDATE OF release ON penstock.runs
    FOR EACH ROW EXECUTE FUNCTION penstock.rank_again();

-- How far a run advances the finish tag of its flow. Levels of priority that a customer uses at once share his weight.
CREATE FUNCTION penstock.flow_step(p_release text, p_tenant text, p_customer text, p_priority integer, p_tag bigint)
    RETURNS bigint LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT greatest(1, penstock.queue_unit() * (
            1 + (SELECT count(*) FROM penstock.flows f
                 WHERE f.release = p_release AND f.tenant = p_tenant AND f.customer = p_customer
                   AND f.priority <> p_priority AND f.finish > p_tag)
        ) / coalesce((SELECT w.weight FROM penstock.weights w WHERE w.tenant = p_tenant AND w.customer = p_customer), 1)
        )::bigint
    );
END
$$;

-- Ranks for runs that nobody admitted: children, the next of a session, submissions of older workers. Waits for nothing:
-- a flow that is being charged by somebody else at this moment is not charged.
CREATE FUNCTION penstock.rank_runs(p_release text[], p_tenant text[], p_customer text[], p_priority integer[])
    RETURNS bigint[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ranks    bigint[] := array_fill(NULL::bigint, ARRAY[coalesce(cardinality(p_release), 0)]);
    v_row    record;
    v_tag    bigint;
    v_step   bigint;
    v_finish bigint;
    v_held   boolean;
    i        integer;
BEGIN
    FOR v_row IN
        SELECT n.release, n.tenant, n.customer, n.priority, array_agg(n.i::integer ORDER BY n.i) AS members
        FROM unnest(p_release, p_tenant, p_customer, p_priority)
            WITH ORDINALITY AS n(release, tenant, customer, priority, i)
        GROUP BY 1, 2, 3, 4
    LOOP
        v_tag := penstock.lane_tag(v_row.release);
        v_step := penstock.flow_step(v_row.release, v_row.tenant, v_row.customer, v_row.priority, v_tag);
        SELECT f.finish INTO v_finish FROM penstock.flows f
        WHERE f.release = v_row.release AND f.tenant = v_row.tenant AND f.customer = v_row.customer
          AND f.priority = v_row.priority
        FOR NO KEY UPDATE SKIP LOCKED;
        v_held := FOUND;
        IF NOT v_held THEN
            SELECT f.finish INTO v_finish FROM penstock.flows f
            WHERE f.release = v_row.release AND f.tenant = v_row.tenant AND f.customer = v_row.customer
              AND f.priority = v_row.priority;
        END IF;
        v_finish := greatest(v_tag, v_finish);
        FOREACH i IN ARRAY v_row.members LOOP
            ranks[i] := v_finish - v_row.priority * penstock.priority_unit();
            v_finish := v_finish + v_step;
        END LOOP;
        IF v_held THEN
            UPDATE penstock.flows f SET finish = v_finish
            WHERE f.release = v_row.release AND f.tenant = v_row.tenant AND f.customer = v_row.customer
              AND f.priority = v_row.priority;
        ELSIF pg_try_advisory_xact_lock(penstock.flows_lock()) THEN
            INSERT INTO penstock.flows (release, tenant, customer, priority, finish)
            VALUES (v_row.release, v_row.tenant, v_row.customer, v_row.priority, v_finish)
            ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
    RETURN ranks;
END
$$;

-- Counts a queue, up to the bound and one more.
CREATE FUNCTION penstock.count_queue(p_tenant text, p_agent text, p_customer text, p_bound bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN (
        SELECT count(*) FROM (
            SELECT FROM penstock.runs r
            WHERE r.tenant = p_tenant AND r.agent = p_agent AND (p_customer = '' OR r.customer = p_customer)
              AND r.status = 'queued'
            LIMIT p_bound + 1
        ) AS counted
    );
END
$$;

-- Takes away what says nothing any more. Waits for nothing.
CREATE FUNCTION penstock.sweep_queue() RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    WITH gone AS (
        DELETE FROM penstock.pace p
        WHERE p.worker <> '00000000-0000-0000-0000-000000000000'
          AND p.since < clock_timestamp() - interval '1 minute'
          AND NOT EXISTS (SELECT FROM penstock.workers w WHERE w.id = p.worker)
          AND (p.release, p.worker) IN (SELECT q.release, q.worker FROM penstock.pace q FOR UPDATE SKIP LOCKED)
        RETURNING p.release, p.agent, p.tag
    )
    INSERT INTO penstock.pace AS p
        (release, worker, agent, tag, bucket, start_tag, before_tag, taken, before_taken, since, waited)
    SELECT g.release, '00000000-0000-0000-0000-000000000000', min(g.agent), max(g.tag), 0, 0, 0, 0, 0, now(), 0
    FROM gone g GROUP BY g.release ORDER BY g.release
    ON CONFLICT (release, worker) DO UPDATE SET tag = greatest(p.tag, excluded.tag);
    DELETE FROM penstock.flows f USING (
        SELECT q.release, q.tenant, q.customer, q.priority FROM penstock.flows q
        JOIN (SELECT p.release, max(p.tag) AS tag FROM penstock.pace p GROUP BY p.release) AS lane USING (release)
        WHERE q.finish <= lane.tag
        FOR UPDATE OF q SKIP LOCKED
    ) AS idle
    WHERE (f.release, f.tenant, f.customer, f.priority)
        = (idle.release, idle.tenant, idle.customer, idle.priority);
    DELETE FROM penstock.queues q USING (
        SELECT k.tenant, k.agent, k.customer FROM penstock.queues k
        WHERE k.touched_at < clock_timestamp() - interval '1 minute'
        FOR UPDATE SKIP LOCKED
    ) AS idle
    WHERE (q.tenant, q.agent, q.customer) = (idle.tenant, idle.agent, idle.customer)
      AND penstock.count_queue(q.tenant, q.agent, q.customer, 0) = 0;
END
$$;

-- Whether a run of this rank will, by all that is known, wait longer than that (microseconds). A pace that was measured
-- while nothing had to wait says nothing about what the workers can do, so then the answer is no.
CREATE FUNCTION penstock.waits_longer(
    p_release text, p_rank bigint, p_tag bigint, p_speed double precision, p_waited bigint, p_wait bigint
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN (
        SELECT CASE
            WHEN p_speed > 0 THEN p_waited >= 1000000 AND (p_rank - p_tag) / p_speed * 1000000 > p_wait
            ELSE coalesce((
                SELECT clock_timestamp() - r.created_at > p_wait * interval '1 microsecond' FROM penstock.runs r
                WHERE r.release = p_release AND r.status = 'queued' AND NOT r.aside
                  AND (r.turn < 2 OR r.stop IN ('cancel', 'kill')) AND (r.stop IS NULL OR r.stop <> 'pause')
                ORDER BY r.rank, r.id LIMIT 1
            ), false)
        END
    );
END
$$;

-- Adds to the counts of the queues that these submissions go to; the first that is full, if one is.
CREATE FUNCTION penstock.count_in(
    p_tenant text[], p_agent text[], p_customer text[], p_new boolean[], p_max_agent bigint, p_max_customer bigint,
    OUT why text, OUT number integer, OUT queued bigint, OUT bound bigint
)
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_row     record;
    v_upper   bigint;
    v_counted timestamptz;
BEGIN
    FOR v_row IN
        SELECT n.tenant, n.agent, n.customer, count(*) AS count, min(n.i)::integer AS first
        FROM (
            SELECT k.tenant, k.agent, c.customer, k.i
            FROM unnest(p_tenant, p_agent, p_customer) WITH ORDINALITY AS k(tenant, agent, customer, i)
            CROSS JOIN LATERAL (SELECT '' AS customer UNION SELECT k.customer) AS c
            WHERE p_new[k.i]
        ) AS n
        GROUP BY n.tenant, n.agent, n.customer
        ORDER BY n.tenant COLLATE "C", n.agent COLLATE "C", n.customer COLLATE "C"
    LOOP
        bound := CASE v_row.customer WHEN '' THEN p_max_agent ELSE p_max_customer END;
        UPDATE penstock.queues q SET upper = q.upper + v_row.count, touched_at = v_now
        WHERE q.tenant = v_row.tenant AND q.agent = v_row.agent AND q.customer = v_row.customer
        RETURNING q.upper, q.counted_at INTO v_upper, v_counted;
        IF NOT FOUND THEN
            INSERT INTO penstock.queues AS q (tenant, agent, customer, upper, counted_at, touched_at)
            VALUES (
                v_row.tenant, v_row.agent, v_row.customer,
                v_row.count + penstock.count_queue(v_row.tenant, v_row.agent, v_row.customer, bound), v_now, v_now
            )
            ON CONFLICT (tenant, agent, customer) DO UPDATE SET upper = q.upper + v_row.count
            RETURNING q.upper, q.counted_at INTO v_upper, v_counted;
        END IF;
        IF v_upper > bound AND v_counted < v_now - interval '1 second' THEN
            v_upper := v_row.count + penstock.count_queue(v_row.tenant, v_row.agent, v_row.customer, bound);
            UPDATE penstock.queues q SET upper = v_upper, counted_at = clock_timestamp()
            WHERE q.tenant = v_row.tenant AND q.agent = v_row.agent AND q.customer = v_row.customer;
        END IF;
        IF v_upper > bound THEN
            why := CASE v_row.customer WHEN '' THEN 'agent' ELSE 'customer' END;
            number := v_row.first;
            queued := v_upper - v_row.count;
            RETURN;
        END IF;
    END LOOP;
END
$$;

-- Lets submissions into the queue or refuses them all, and gives those let in their ranks, before they are created. Its
-- commit is not waited for: a rank that is lost leaves a gap, and a count that is lost is found by counting. So the rows
-- that all submissions of a customer share are held for microseconds, and not while a commit reaches the disk.
--
-- Repeats of a key, and runs that wait behind their session, get no rank: NULL. p_wait: the longest wait that is worth
-- it, microseconds; 0 = any. When something is in the way: why is 'agent', 'customer' or 'wait', number the first run
-- concerned; queued are before it in that queue, rate is the pace at which that queue gets shorter (runs a second),
-- expected the wait in seconds (NULL: nothing was claimed of late).
CREATE FUNCTION penstock.admit(
    p_tenant text[], p_agent text[], p_release text[], p_customer text[], p_priority integer[], p_key text[],
    p_session text[], p_wait bigint[], p_max_agent bigint, p_max_customer bigint,
    OUT ranks bigint[], OUT why text, OUT number integer, OUT queued bigint, OUT bound bigint,
    OUT rate double precision, OUT expected double precision
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_n       integer := cardinality(p_tenant);
    v_new     boolean[] := array_fill(true, ARRAY[v_n]);   -- not a repeat of a key
    v_ranked  boolean[];                                   -- and not behind its session
    v_row     record;
    v_lane    record;
    v_release text;
    v_finish  bigint;
    v_step    bigint;
    v_missing boolean;
    i         integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    ranks := array_fill(NULL::bigint, ARRAY[v_n]);
    IF array_remove(p_key, NULL) <> '{}' THEN
        SELECT array_agg(NOT EXISTS (
            SELECT FROM penstock.runs r WHERE r.tenant = n.tenant AND r.key = n.key AND r.key IS NOT NULL
        ) ORDER BY n.i) INTO v_new
        FROM unnest(p_tenant, p_key) WITH ORDINALITY AS n(tenant, key, i);
    END IF;
    v_ranked := v_new;
    IF array_remove(p_session, '') <> '{}' THEN
        SELECT array_agg(v_new[n.i] AND (n.session = '' OR (n.nth = 1 AND NOT EXISTS (
            SELECT FROM penstock.sessions s WHERE s.tenant = n.tenant AND s.session = n.session
        ))) ORDER BY n.i) INTO v_ranked
        FROM (
            SELECT k.tenant, k.session, k.i, row_number() OVER (PARTITION BY k.tenant, k.session ORDER BY k.i) AS nth
            FROM unnest(p_tenant, p_session) WITH ORDINALITY AS k(tenant, session, i)
        ) AS n;
    END IF;

    BEGIN  -- all that it wrote is taken back when one of them is refused
        SELECT c.* INTO why, number, queued, bound
        FROM penstock.count_in(p_tenant, p_agent, p_customer, v_new, p_max_agent, p_max_customer) AS c;
        IF why IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PQ001';
        END IF;

        SELECT bool_or(NOT EXISTS (
            SELECT FROM penstock.flows f
            WHERE f.release = n.release AND f.tenant = n.tenant AND f.customer = n.customer AND f.priority = n.priority
        )) INTO v_missing
        FROM unnest(p_release, p_tenant, p_customer, p_priority)
            WITH ORDINALITY AS n(release, tenant, customer, priority, i)
        WHERE v_ranked[n.i];
        IF v_missing THEN  -- rows come into being under one lock, so that nobody waits for one that is coming
            PERFORM pg_advisory_xact_lock(penstock.flows_lock());
            INSERT INTO penstock.flows (release, tenant, customer, priority, finish)
            SELECT DISTINCT n.release, n.tenant, n.customer, n.priority, 0
            FROM unnest(p_release, p_tenant, p_customer, p_priority)
                WITH ORDINALITY AS n(release, tenant, customer, priority, i)
            WHERE v_ranked[n.i]
            ON CONFLICT DO NOTHING;
        END IF;

        FOR v_row IN
            SELECT n.release, n.tenant, n.customer, n.priority, array_agg(n.i::integer ORDER BY n.i) AS members
            FROM unnest(p_release, p_tenant, p_customer, p_priority)
                WITH ORDINALITY AS n(release, tenant, customer, priority, i)
            WHERE v_ranked[n.i]
            GROUP BY n.release, n.tenant, n.customer, n.priority
            ORDER BY n.release COLLATE "C", n.tenant COLLATE "C", n.customer COLLATE "C", n.priority
        LOOP
            IF v_release IS DISTINCT FROM v_row.release THEN
                v_release := v_row.release;
                SELECT * INTO v_lane FROM penstock.lane(v_release);
            END IF;
            SELECT f.finish INTO v_finish FROM penstock.flows f
            WHERE f.release = v_row.release AND f.tenant = v_row.tenant AND f.customer = v_row.customer
              AND f.priority = v_row.priority
            FOR NO KEY UPDATE;
            v_finish := greatest(v_lane.tag, v_finish);
            v_step := penstock.flow_step(v_row.release, v_row.tenant, v_row.customer, v_row.priority, v_lane.tag);
            FOREACH i IN ARRAY v_row.members LOOP
                ranks[i] := v_finish - v_row.priority * penstock.priority_unit();
                v_finish := v_finish + v_step;
                IF p_wait[i] > 0 AND penstock.waits_longer(
                    v_release, ranks[i], v_lane.tag, v_lane.speed, v_lane.waited, p_wait[i]
                ) THEN
                    why := 'wait';
                    number := i;
                    RAISE EXCEPTION USING ERRCODE = 'PQ001';
                END IF;
            END LOOP;
            UPDATE penstock.flows f SET finish = v_finish
            WHERE f.release = v_row.release AND f.tenant = v_row.tenant AND f.customer = v_row.customer
              AND f.priority = v_row.priority;
        END LOOP;
        IF v_missing AND random() < 0.004 THEN
            PERFORM penstock.sweep_queue();
        END IF;
        RETURN;
    EXCEPTION WHEN SQLSTATE 'PQ001' THEN
        NULL;
    END;

    SELECT * INTO v_lane FROM penstock.lane(p_release[number]);
    v_step := penstock.flow_step(
        p_release[number], p_tenant[number], p_customer[number], p_priority[number], v_lane.tag
    );
    IF why = 'wait' THEN
        queued := penstock.count_queue(p_tenant[number], p_agent[number], p_customer[number], p_max_agent);
        expected := greatest(0, ranks[number] - v_lane.tag) / nullif(v_lane.speed, 0);
    ELSE
        SELECT greatest(
            0, max(f.finish) - v_lane.tag - p_priority[number] * penstock.priority_unit()
        ) / nullif(v_lane.speed, 0) INTO expected
        FROM penstock.flows f
        WHERE f.release = p_release[number] AND f.tenant = p_tenant[number]
          AND (why = 'agent' OR f.customer = p_customer[number]);
    END IF;
    SELECT least(v_lane.rate, v_lane.speed / penstock.queue_unit() * sum(w.weight)) INTO rate
    FROM (
        SELECT DISTINCT f.customer, coalesce((
            SELECT k.weight FROM penstock.weights k WHERE k.tenant = f.tenant AND k.customer = f.customer
        ), 1) AS weight
        FROM penstock.flows f
        WHERE f.release = p_release[number] AND f.tenant = p_tenant[number] AND f.finish > v_lane.tag
          AND (why = 'agent' OR f.customer = p_customer[number])
    ) AS w;
    ranks := NULL;
END
$$;

-- As the spine's function of the same name, with the ranks that `admit` gave. One that has none is given one, unless it
-- waits behind its session: then it gets one when its turn comes.
CREATE FUNCTION penstock.create_ranked_runs(
    p_tenant text[], p_id uuid[], p_agent text[], p_release text[], p_env text[], p_format integer[],
    p_subject text[], p_subject_key bytea[], p_key text[], p_digest text[], p_session text[], p_priority integer[],
    p_parent uuid[], p_parent_path text[], p_root uuid[], p_deadline bigint[], p_tags text[],
    p_body bytea[], p_hash bytea[], p_rank bigint[]
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_n        integer := cardinality(p_id);
    v_at       timestamptz := clock_timestamp();
    v_sessions boolean := array_remove(p_session, '') <> '{}';
    v_turns    integer[] := array_fill(0, ARRAY[v_n]);
    v_places   bigint[] := array_fill(NULL::bigint, ARRAY[v_n]);
    v_customer text[];
    v_rank     bigint[] := p_rank;
    v_given    bigint[];
    v_without  integer[];
    v_made     integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF EXISTS (SELECT FROM unnest(p_id, p_subject) AS n(id, subject) WHERE n.subject <> n.id::text) THEN
        PERFORM penstock.ensure_subjects(
            array_agg(n.tenant), array_agg(n.subject), array_agg(n.key)
        )
        FROM unnest(p_tenant, p_id, p_subject, p_subject_key) AS n(tenant, id, subject, key)
        WHERE n.subject <> n.id::text;
    END IF;

    IF v_sessions THEN
        -- The row is held until the commit: places are in the order of submission, and one run finds it free.
        INSERT INTO penstock.sessions AS s (tenant, session)
        SELECT DISTINCT n.tenant, n.session FROM unnest(p_tenant, p_session) AS n(tenant, session)
        WHERE n.session <> '' ORDER BY n.tenant, n.session
        ON CONFLICT (tenant, session) DO UPDATE SET holder = s.holder;
        SELECT array_agg(o.turn ORDER BY o.i), array_agg(o.place ORDER BY o.i) INTO v_turns, v_places
        FROM (
            SELECT n.i, CASE
                       WHEN n.session = '' THEN 0
                       WHEN n.nth = 1 AND s.holder IS NULL THEN 1
                       ELSE 2
                   END AS turn,
                   CASE WHEN n.session <> '' THEN coalesce(
                       -- One in which another run goes on stands where that one stood.
                       (SELECT r.place FROM penstock.runs r
                        WHERE n.path = 'continued' AND r.tenant = n.tenant AND r.id = n.parent
                          AND r.session = n.session),
                       nextval('penstock.session_places')
                   ) END AS place
            FROM (
                SELECT k.tenant, k.session, k.parent, k.path, k.i,
                       row_number() OVER (PARTITION BY k.tenant, k.session ORDER BY k.i) AS nth
                FROM unnest(p_tenant, p_session, p_parent, p_parent_path)
                    WITH ORDINALITY AS k(tenant, session, parent, path, i)
                ORDER BY k.i
            ) AS n
            LEFT JOIN penstock.sessions s ON s.tenant = n.tenant AND s.session = n.session
        ) AS o;
    END IF;

    SELECT array_agg(coalesce(n.tags::jsonb ->> 'customer', '') ORDER BY n.i) INTO v_customer
    FROM unnest(p_tags) WITH ORDINALITY AS n(tags, i);
    SELECT array_agg(n.i::integer ORDER BY n.i) INTO v_without
    FROM unnest(p_rank) WITH ORDINALITY AS n(rank, i) WHERE n.rank IS NULL AND v_turns[n.i] < 2;
    IF v_without IS NOT NULL THEN
        SELECT penstock.rank_runs(
            array_agg(p_release[n.i] ORDER BY n.k), array_agg(p_tenant[n.i] ORDER BY n.k),
            array_agg(v_customer[n.i] ORDER BY n.k), array_agg(p_priority[n.i] ORDER BY n.k)
        ) INTO v_given
        FROM unnest(v_without) WITH ORDINALITY AS n(i, k);
        FOR k IN 1..cardinality(v_without) LOOP
            v_rank[v_without[k]] := v_given[k];
        END LOOP;
    END IF;

    WITH made AS (
        INSERT INTO penstock.runs (
            tenant, id, agent, release, env, format, last_seq, head, subject, subject_key, key, request_digest,
            session, priority, parent, parent_path, root, wake_at, created_at, deadline, tags,
            customer, rank, turn, place
        )
        SELECT n.tenant, n.id, n.agent, n.release, n.env, n.format, 1, n.hash, n.subject,
               CASE WHEN n.subject = n.id::text THEN n.subject_key END, n.key, n.digest,
               n.session, n.priority, n.parent, n.parent_path, n.root, v_at, v_at, n.deadline, n.tags::jsonb,
               v_customer[n.i], CASE WHEN v_turns[n.i] < 2 THEN v_rank[n.i] ELSE 0 END, v_turns[n.i], v_places[n.i]
        FROM unnest(
            p_tenant, p_id, p_agent, p_release, p_env, p_format, p_subject, p_subject_key, p_key, p_digest,
            p_session, p_priority, p_parent, p_parent_path, p_root, p_deadline, p_tags, p_hash
        ) WITH ORDINALITY AS n(
            tenant, id, agent, release, env, format, subject, subject_key, key, digest,
            session, priority, parent, parent_path, root, deadline, tags, hash, i
        )
        ORDER BY n.tenant, n.key, CASE WHEN n.key IS NULL THEN n.id END, n.i
        ON CONFLICT DO NOTHING
        RETURNING tenant, id
    )
    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    SELECT n.tenant, n.id, 1, v_at, n.body, n.hash
    FROM unnest(p_tenant, p_id, p_body, p_hash) AS n(tenant, id, body, hash)
    JOIN made ON made.tenant = n.tenant AND made.id = n.id;
    GET DIAGNOSTICS v_made = ROW_COUNT;
    IF v_sessions THEN
        PERFORM penstock.hold_sessions(p_tenant, p_id, p_session, v_turns);
    END IF;
    RETURN v_made;
END
$$;

-- Notes who holds the sessions that were free before these runs came. When the run meant to hold one was there already
-- (its key was), the next of them does; when there is none the session is free again.
CREATE FUNCTION penstock.hold_sessions(p_tenant text[], p_id uuid[], p_session text[], p_turn integer[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    UPDATE penstock.sessions s SET holder = n.id
    FROM unnest(p_tenant, p_id, p_session, p_turn) AS n(tenant, id, session, turn)
    JOIN penstock.runs r ON r.tenant = n.tenant AND r.id = n.id AND r.turn = 1 AND r.session = n.session
    WHERE n.turn = 1 AND s.tenant = n.tenant AND s.session = n.session AND s.holder IS NULL;
    IF EXISTS (
        SELECT FROM unnest(p_tenant, p_session, p_turn) AS n(tenant, session, turn)
        JOIN penstock.sessions s ON s.tenant = n.tenant AND s.session = n.session
        WHERE n.turn = 1 AND s.holder IS NULL
    ) THEN
        PERFORM penstock.let_in(array_agg(n.tenant), array_agg(n.session))
        FROM unnest(p_tenant, p_session, p_turn) AS n(tenant, session, turn)
        JOIN penstock.sessions s ON s.tenant = n.tenant AND s.session = n.session
        WHERE n.turn = 1 AND s.holder IS NULL;
    END IF;
END
$$;

-- Gives sessions, whose rows the caller holds and which no unended run holds, to the first run that waits behind each; a
-- session with none is free. A session whose next row somebody holds is left for the next try. Waits for nothing.
CREATE FUNCTION penstock.let_in(p_tenant text[], p_session text[]) RETURNS void
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
DECLARE
    v_tenant  text[];
    v_session text[];
    v_next    uuid[];
    v_ranks   bigint[];
BEGIN
    SELECT array_agg(k.tenant ORDER BY k.i), array_agg(k.session ORDER BY k.i), array_agg(n.id ORDER BY k.i),
           penstock.rank_runs(
               array_agg(n.release ORDER BY k.i) FILTER (WHERE n.id IS NOT NULL),
               array_agg(k.tenant ORDER BY k.i) FILTER (WHERE n.id IS NOT NULL),
               array_agg(n.customer ORDER BY k.i) FILTER (WHERE n.id IS NOT NULL),
               array_agg(n.priority ORDER BY k.i) FILTER (WHERE n.id IS NOT NULL)
           )
    INTO v_tenant, v_session, v_next, v_ranks
    FROM unnest(p_tenant, p_session) WITH ORDINALITY AS k(tenant, session, i)
    LEFT JOIN LATERAL (
        SELECT q.id, q.release, q.customer, q.priority FROM penstock.runs q
        WHERE q.tenant = k.tenant AND q.session = k.session AND q.turn = 2 AND q.status <> 'ended'
        ORDER BY q.place LIMIT 1
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT e.id FROM penstock.runs e
        WHERE e.tenant = k.tenant AND e.session = k.session AND e.turn = 1 AND e.status = 'ended'
    ) AS past ON true
    LEFT JOIN LATERAL (
        SELECT h.id FROM penstock.runs h WHERE h.tenant = k.tenant AND h.id = n.id FOR NO KEY UPDATE SKIP LOCKED
    ) AS held ON true
    LEFT JOIN LATERAL (
        SELECT h.id FROM penstock.runs h WHERE h.tenant = k.tenant AND h.id = past.id FOR NO KEY UPDATE SKIP LOCKED
    ) AS left_by ON true
    WHERE (n.id IS NULL OR held.id IS NOT NULL) AND (past.id IS NULL OR left_by.id IS NOT NULL);
    UPDATE penstock.runs r SET turn = 0
    FROM unnest(v_tenant, v_session) AS k(tenant, session)
    WHERE r.tenant = k.tenant AND r.session = k.session AND r.turn = 1 AND r.status = 'ended';
    UPDATE penstock.runs r SET turn = 1, rank = v_ranks[n.nth]
    FROM (
        SELECT k.tenant, k.id, row_number() OVER (ORDER BY k.i) AS nth
        FROM unnest(v_tenant, v_next) WITH ORDINALITY AS k(tenant, id, i) WHERE k.id IS NOT NULL
    ) AS n
    WHERE r.tenant = n.tenant AND r.id = n.id;
    UPDATE penstock.sessions s SET holder = n.id
    FROM unnest(v_tenant, v_session, v_next) AS n(tenant, session, id)
    WHERE n.id IS NOT NULL AND s.tenant = n.tenant AND s.session = n.session;
    DELETE FROM penstock.sessions s USING unnest(v_tenant, v_session, v_next) AS n(tenant, session, id)
    WHERE n.id IS NULL AND s.tenant = n.tenant AND s.session = n.session;
END
$$;

CREATE OR REPLACE FUNCTION penstock.create_runs(
    p_tenant text[], p_id uuid[], p_agent text[], p_release text[], p_env text[], p_format integer[],
    p_subject text[], p_subject_key bytea[], p_key text[], p_digest text[], p_session text[], p_priority integer[],
    p_parent uuid[], p_parent_path text[], p_root uuid[], p_deadline bigint[], p_tags text[],
    p_body bytea[], p_hash bytea[]
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN penstock.create_ranked_runs(
        p_tenant, p_id, p_agent, p_release, p_env, p_format, p_subject, p_subject_key, p_key, p_digest, p_session,
        p_priority, p_parent, p_parent_path, p_root, p_deadline, p_tags, p_body, p_hash,
        array_fill(NULL::bigint, ARRAY[cardinality(p_id)])
    );
END
$$;

-- Sessions whose run has ended go to the next in line.
CREATE FUNCTION penstock.hand_over(p_limit integer) RETURNS void
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
DECLARE
    v_tenant  text[];
    v_session text[];
BEGIN
    SELECT array_agg(h.tenant), array_agg(h.session) INTO v_tenant, v_session
    FROM (
        SELECT s.tenant, s.session
        FROM (
            SELECT r.tenant, r.session FROM penstock.runs r WHERE r.turn = 1 AND r.status = 'ended' LIMIT p_limit
        ) AS e
        JOIN penstock.sessions s ON s.tenant = e.tenant AND s.session = e.session
        FOR NO KEY UPDATE OF s SKIP LOCKED
    ) AS h;
    -- Somebody may have done it before the rows were locked; whose turn it is can be read now, and did not change since.
    SELECT array_agg(k.tenant), array_agg(k.session) INTO v_tenant, v_session
    FROM unnest(v_tenant, v_session) AS k(tenant, session)
    JOIN penstock.sessions s ON s.tenant = k.tenant AND s.session = k.session
    JOIN penstock.runs r ON r.tenant = s.tenant AND r.id = s.holder AND r.status = 'ended';
    IF v_tenant IS NOT NULL THEN
        PERFORM penstock.let_in(v_tenant, v_session);
    END IF;
END
$$;

-- Queued runs of killed tenants go out of the claimers' way, each once; and come back when the kill is lifted.
CREATE FUNCTION penstock.set_aside(p_releases text[], p_tenants text[]) RETURNS void
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
BEGIN
    IF EXISTS (SELECT FROM penstock.runs r WHERE r.aside) THEN
        UPDATE penstock.runs r SET aside = false
        FROM (
            WITH RECURSIVE t AS (  -- from tenant to tenant in the index
                (SELECT k.tenant FROM penstock.runs k WHERE k.aside ORDER BY k.tenant LIMIT 1)
                UNION ALL
                SELECT (
                    SELECT k.tenant FROM penstock.runs k WHERE k.aside AND k.tenant > t.tenant
                    ORDER BY k.tenant LIMIT 1
                )
                FROM t WHERE t.tenant IS NOT NULL
            )
            SELECT b.tenant, b.id
            FROM t CROSS JOIN LATERAL (
                SELECT k.tenant, k.id FROM penstock.runs k WHERE k.aside AND k.tenant = t.tenant LIMIT 1000
                FOR NO KEY UPDATE SKIP LOCKED
            ) AS b
            WHERE t.tenant IS NOT NULL AND NOT t.tenant = ANY (p_tenants)
        ) AS back
        WHERE r.tenant = back.tenant AND r.id = back.id;
    END IF;
    IF p_tenants = '{}' THEN
        RETURN;
    END IF;
    FOR i IN 1..8 LOOP
        UPDATE penstock.runs r SET aside = true
        FROM (
            SELECT f.tenant, f.id
            FROM unnest(p_releases) AS offered(release)
            CROSS JOIN LATERAL (
                SELECT q.tenant, q.id FROM penstock.runs q
                WHERE q.status = 'queued' AND NOT q.aside AND (q.turn < 2 OR q.stop IN ('cancel', 'kill'))
                  AND (q.stop IS NULL OR q.stop <> 'pause') AND q.release = offered.release
                ORDER BY q.rank, q.id LIMIT 500
            ) AS f
            WHERE f.tenant = ANY (p_tenants)
        ) AS k
        JOIN LATERAL (
            SELECT h.id FROM penstock.runs h WHERE h.tenant = k.tenant AND h.id = k.id FOR NO KEY UPDATE SKIP LOCKED
        ) AS held ON true
        WHERE r.tenant = k.tenant AND r.id = k.id AND r.status = 'queued';
        EXIT WHEN NOT FOUND;
    END LOOP;
END
$$;

-- As before, but: sessions are handed on first, killed tenants cost nothing after a while, and the queue goes by rank.
-- Among several releases those come first that are farthest behind their own virtual times.
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
    v_taken      integer;
    v_bucket     bigint := floor(extract(epoch FROM clock_timestamp()) / 10)::bigint;
    v_handover   boolean;
    v_aside      boolean;
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
    SELECT EXISTS (SELECT FROM penstock.runs r WHERE r.turn = 1 AND r.status = 'ended'),
           EXISTS (SELECT FROM penstock.runs r WHERE r.aside)
    INTO v_handover, v_aside;
    IF v_handover THEN
        PERFORM penstock.hand_over(greatest(p_limit, 256));
    END IF;
    IF v_aside OR v_tenants <> '{}' THEN
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

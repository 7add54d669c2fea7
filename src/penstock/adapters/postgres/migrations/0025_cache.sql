-- The exact cache: answers that are given again, who is making the call that others wait for, and how often it served.
--
-- Order of locks: that of erasures, shared; then the tenant's row of cache_tenants; then entries; then flights. Serving
-- an entry locks nothing but, now and then, the entry to say that it was used.

CREATE TABLE penstock.cache_tenants (
    tenant  text COLLATE "C" PRIMARY KEY,
    secret  bytea  NOT NULL,             -- what keys are made with: without it nobody can try a guess
    entries bigint NOT NULL DEFAULT 0,
    bytes   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- ``subject`` is the one whose call made the entry: a run's id, or a named one.
CREATE TABLE penstock.cache_entries (
    tenant     text COLLATE "C" NOT NULL,
    key        bytea   NOT NULL,
    gate       text COLLATE "C" NOT NULL CHECK (gate IN ('model', 'tool')),
    scope      text COLLATE "C" NOT NULL CHECK (scope IN ('run', 'subject', 'customer', 'agent', 'tenant')),
    scope_name text COLLATE "C" NOT NULL,
    agent      text COLLATE "C" NOT NULL,
    name       text COLLATE "C" NOT NULL,
    subject    text COLLATE "C" NOT NULL,
    run_id     uuid    NOT NULL,
    path       text COLLATE "C" NOT NULL,
    at         bigint  NOT NULL,         -- microseconds, of this clock, as all times here
    expires_at bigint  NOT NULL,
    used_at    bigint  NOT NULL,         -- to about a minute
    tags       text[] COLLATE "C" NOT NULL,
    codec      text    NOT NULL,
    size       integer NOT NULL,
    digest     bytea   NOT NULL,
    data       bytea   NOT NULL,
    finish     text    NOT NULL,
    simulated  boolean NOT NULL,
    tokens     bigint  NOT NULL,
    nano       bigint  NOT NULL,
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 80);
ALTER TABLE penstock.cache_entries ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX cache_entries_used ON penstock.cache_entries (tenant, used_at);
CREATE INDEX cache_entries_expiry ON penstock.cache_entries (expires_at);
CREATE INDEX cache_entries_subject ON penstock.cache_entries (tenant, subject);
CREATE INDEX cache_entries_tags ON penstock.cache_entries USING gin (tags);

-- Calls under way that others wait for; ``alone``: the last one's answer could not be kept.
CREATE TABLE penstock.cache_flights (
    tenant text COLLATE "C" NOT NULL,
    key    bytea   NOT NULL,
    run_id uuid    NOT NULL,
    epoch  integer NOT NULL,
    path   text COLLATE "C" NOT NULL,
    until  bigint  NOT NULL,
    alone  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, key)
) WITH (fillfactor = 50);
CREATE INDEX cache_flights_until ON penstock.cache_flights (until);

-- When something with a tag was last dropped ('' = something, whatever its tags): what was on its way then is not kept.
CREATE TABLE penstock.cache_drops (
    tenant text COLLATE "C" NOT NULL,
    tag    text COLLATE "C" NOT NULL,
    at     bigint NOT NULL,
    PRIMARY KEY (tenant, tag)
);

CREATE TABLE penstock.cache_counts (
    tenant         text COLLATE "C" NOT NULL,
    hour           bigint NOT NULL,
    gate           text COLLATE "C" NOT NULL,
    agent          text COLLATE "C" NOT NULL,
    name           text COLLATE "C" NOT NULL,
    hits           bigint NOT NULL,
    waited         bigint NOT NULL,
    misses         bigint NOT NULL,
    saved_nano     bigint NOT NULL,
    saved_tokens   bigint NOT NULL,
    calls          bigint NOT NULL,
    tokens_in      bigint NOT NULL,
    tokens_cached  bigint NOT NULL,
    tokens_written bigint NOT NULL,
    PRIMARY KEY (tenant, hour, gate, agent, name)
) WITH (fillfactor = 50);
CREATE INDEX cache_counts_hour ON penstock.cache_counts (hour);

CREATE FUNCTION penstock.cache_secret(p_tenant text, p_secret bytea) RETURNS bytea
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_secret bytea;
BEGIN
    INSERT INTO penstock.cache_tenants (tenant, secret) VALUES (p_tenant, p_secret) ON CONFLICT DO NOTHING;
    SELECT t.secret INTO v_secret FROM penstock.cache_tenants t WHERE t.tenant = p_tenant;
    RETURN v_secret;
END
$$;

-- Whether a run is still held under that claim, by a worker that is alive.
CREATE FUNCTION penstock.cache_seated(p_tenant text, p_run uuid, p_epoch integer) RETURNS boolean
    LANGUAGE sql STABLE
RETURN EXISTS (
    SELECT FROM penstock.runs r JOIN penstock.workers w ON w.id = r.worker
    WHERE r.tenant = p_tenant AND r.id = p_run AND r.epoch = p_epoch AND r.status = 'running'
      AND w.lease_until > clock_timestamp()
);

-- The entry, or who makes the call. Each statement sees what the one before waited for: a call that ended in between has
-- left its entry.
CREATE FUNCTION penstock.cache_take(
    p_tenant text, p_key bytea, p_run uuid, p_epoch integer, p_path text, p_lease_us bigint,
    OUT state text, OUT now_us bigint, OUT entry penstock.cache_entries
)
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    v_flight record;
    v_again  boolean := false;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);  -- lost, a call is made once more
    now_us := penstock.to_us(clock_timestamp());
    LOOP
        SELECT e.* INTO entry FROM penstock.cache_entries e
        WHERE e.tenant = p_tenant AND e.key = p_key AND e.expires_at > now_us;
        IF FOUND THEN
            IF entry.used_at < now_us - 60000000 THEN
                UPDATE penstock.cache_entries e SET used_at = now_us WHERE e.tenant = p_tenant AND e.key = (
                    SELECT o.key FROM penstock.cache_entries o WHERE o.tenant = p_tenant AND o.key = p_key
                    FOR NO KEY UPDATE SKIP LOCKED
                );
            END IF;
            IF v_again AND state = 'lead' THEN
                DELETE FROM penstock.cache_flights f
                WHERE f.tenant = p_tenant AND f.key = p_key AND f.run_id = p_run AND f.epoch = p_epoch
                  AND f.path = p_path;
            END IF;
            state := 'hit';
            RETURN;
        END IF;
        entry := NULL;
        IF v_again THEN
            RETURN;
        END IF;
        v_again := true;
        -- Mostly somebody's call is under way: that is seen without a lock.
        SELECT f.* INTO v_flight FROM penstock.cache_flights f WHERE f.tenant = p_tenant AND f.key = p_key;
        IF FOUND AND v_flight.until > now_us AND (v_flight.run_id, v_flight.epoch, v_flight.path)
            IS DISTINCT FROM (p_run, p_epoch, p_path) THEN
            IF v_flight.alone THEN
                state := 'alone';
                RETURN;
            ELSIF penstock.cache_seated(p_tenant, v_flight.run_id, v_flight.epoch) THEN
                state := 'busy';
                RETURN;
            END IF;
        END IF;
        INSERT INTO penstock.cache_flights AS f (tenant, key, run_id, epoch, path, until)
        VALUES (p_tenant, p_key, p_run, p_epoch, p_path, now_us + p_lease_us)
        ON CONFLICT (tenant, key) DO UPDATE
        SET run_id = excluded.run_id, epoch = excluded.epoch, path = excluded.path, until = excluded.until, alone = false
        WHERE (f.run_id, f.epoch, f.path) = (v_flight.run_id, v_flight.epoch, v_flight.path)
           OR (f.run_id, f.epoch, f.path) = (p_run, p_epoch, p_path);
        state := CASE WHEN FOUND THEN 'lead' ELSE 'busy' END;
    END LOOP;
END
$$;

-- Takes entries away, and out of the tenant's totals. The caller holds the tenant's row.
CREATE FUNCTION penstock.cache_remove(p_tenant text, p_keys bytea[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_gone  bigint;
    v_bytes bigint;
BEGIN
    WITH gone AS (
        DELETE FROM penstock.cache_entries e WHERE e.tenant = p_tenant AND e.key = ANY (p_keys)
        RETURNING octet_length(e.data) AS stored
    )
    SELECT count(*), coalesce(sum(stored), 0) INTO v_gone, v_bytes FROM gone;
    UPDATE penstock.cache_tenants t SET entries = t.entries - v_gone, bytes = t.bytes - v_bytes
    WHERE t.tenant = p_tenant AND v_gone > 0;
    RETURN v_gone;
END
$$;

-- Keeps an answer and ends its flight. Content of an erased subject is not kept: the shared lock makes an erasure wait
-- for this, and a tombstone committed before the lock was granted is seen.
CREATE FUNCTION penstock.cache_put(
    p_tenant text, p_key bytea, p_gate text, p_scope text, p_scope_name text, p_agent text, p_name text, p_subject text,
    p_run uuid, p_epoch integer, p_path text, p_tags text[], p_codec text, p_size integer, p_digest bytea, p_data bytea,
    p_finish text, p_simulated boolean, p_tokens bigint, p_nano bigint,
    p_began bigint, p_life_us bigint, p_max_entries bigint, p_max_bytes bigint
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
AS $$
DECLARE
    v_now     bigint;
    v_entries bigint;
    v_bytes   bigint;
    v_stored  bigint := octet_length(p_data);
    v_keys    bytea[];
    v_kept    boolean := false;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.erasure_lock());
    SELECT t.entries, t.bytes INTO v_entries, v_bytes FROM penstock.cache_tenants t
    WHERE t.tenant = p_tenant FOR NO KEY UPDATE;
    v_now := penstock.to_us(clock_timestamp());
    IF FOUND AND v_stored <= p_max_bytes
        AND NOT EXISTS (
            SELECT FROM penstock.subjects s
            WHERE s.tenant = p_tenant AND s.subject = p_subject AND s.erased_at IS NOT NULL
        )
        AND NOT EXISTS (
            SELECT FROM penstock.cache_drops d
            WHERE d.tenant = p_tenant AND d.tag = ANY (p_tags || '{""}'::text[]) AND d.at >= p_began
        )
    THEN
        PERFORM penstock.cache_remove(p_tenant, ARRAY[p_key]);
        LOOP
            SELECT t.entries, t.bytes INTO v_entries, v_bytes FROM penstock.cache_tenants t WHERE t.tenant = p_tenant;
            EXIT WHEN v_entries < p_max_entries AND v_bytes + v_stored <= p_max_bytes;
            -- As many as their mean size asks for, so that one large answer does not take a round each.
            SELECT array_agg(old.key) INTO v_keys FROM (
                SELECT e.key FROM penstock.cache_entries e WHERE e.tenant = p_tenant ORDER BY e.used_at
                LIMIT least(1000, greatest(
                    1, v_entries - p_max_entries + 1,
                    (v_bytes + v_stored - p_max_bytes) * v_entries / greatest(1, v_bytes)
                ))
            ) AS old;
            EXIT WHEN v_keys IS NULL OR penstock.cache_remove(p_tenant, v_keys) = 0;
        END LOOP;
        INSERT INTO penstock.cache_entries VALUES (
            p_tenant, p_key, p_gate, p_scope, p_scope_name, p_agent, p_name, p_subject, p_run, p_path, v_now,
            v_now + p_life_us, v_now, p_tags, p_codec, p_size, p_digest, p_data, p_finish, p_simulated, p_tokens, p_nano
        );
        UPDATE penstock.cache_tenants t SET entries = t.entries + 1, bytes = t.bytes + v_stored
        WHERE t.tenant = p_tenant;
        v_kept := true;
    END IF;
    DELETE FROM penstock.cache_flights f
    WHERE f.tenant = p_tenant AND f.key = p_key AND f.run_id = p_run AND f.epoch = p_epoch AND f.path = p_path;
    RETURN v_kept;
END
$$;

CREATE FUNCTION penstock.cache_let_go(
    p_tenant text, p_key bytea, p_run uuid, p_epoch integer, p_path text, p_alone_us bigint
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    IF p_alone_us > 0 THEN
        UPDATE penstock.cache_flights f
        SET alone = true, until = penstock.to_us(clock_timestamp()) + p_alone_us, path = p_path || '!'
        WHERE f.tenant = p_tenant AND f.key = p_key AND f.run_id = p_run AND f.epoch = p_epoch AND f.path = p_path;
    ELSE
        DELETE FROM penstock.cache_flights f
        WHERE f.tenant = p_tenant AND f.key = p_key AND f.run_id = p_run AND f.epoch = p_epoch AND f.path = p_path;
    END IF;
END
$$;

-- Drops entries: those with one of the tags; or, without tags, those that fit what is named ('' = any).
CREATE FUNCTION penstock.cache_drop(
    p_tenant text, p_tags text[], p_gate text, p_scope text, p_scope_name text, p_agent text, p_name text, p_tag text
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_keys bytea[];
BEGIN
    PERFORM FROM penstock.cache_tenants t WHERE t.tenant = p_tenant FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 0;  -- nothing was ever asked for
    END IF;
    INSERT INTO penstock.cache_drops AS d (tenant, tag, at)
    SELECT p_tenant, n.tag, penstock.to_us(clock_timestamp())
    FROM unnest(CASE WHEN cardinality(p_tags) > 0 THEN p_tags ELSE '{""}'::text[] END) AS n(tag)
    ORDER BY n.tag
    ON CONFLICT (tenant, tag) DO UPDATE SET at = greatest(d.at, excluded.at);
    IF cardinality(p_tags) > 0 THEN
        SELECT array_agg(e.key) INTO v_keys FROM penstock.cache_entries e WHERE e.tenant = p_tenant AND e.tags && p_tags;
    ELSE
        SELECT array_agg(e.key) INTO v_keys FROM penstock.cache_entries e
        WHERE e.tenant = p_tenant AND p_gate IN ('', e.gate) AND p_agent IN ('', e.agent) AND p_name IN ('', e.name)
          AND (p_scope = '' OR (e.scope = p_scope AND e.scope_name = p_scope_name))
          AND (p_tag = '' OR p_tag = ANY (e.tags));
    END IF;
    RETURN CASE WHEN v_keys IS NULL THEN 0 ELSE penstock.cache_remove(p_tenant, v_keys) END;
END
$$;

CREATE FUNCTION penstock.cache_erase(p_tenant text, p_subject text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_keys bytea[];
BEGIN
    SELECT array_agg(e.key) INTO v_keys FROM penstock.cache_entries e
    WHERE e.tenant = p_tenant AND e.subject = p_subject;
    IF v_keys IS NOT NULL THEN
        PERFORM FROM penstock.cache_tenants t WHERE t.tenant = p_tenant FOR NO KEY UPDATE;
        PERFORM penstock.cache_remove(p_tenant, v_keys);
    END IF;
END
$$;

-- What is erased of a person, and what retention erases of a run, is erased here in the same transaction.
CREATE FUNCTION penstock.erase_from_cache() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_TABLE_NAME = 'runs' THEN
        PERFORM penstock.cache_erase(NEW.tenant, NEW.id::text);
    ELSE
        PERFORM penstock.cache_erase(NEW.tenant, NEW.subject);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER subjects_erase_cache AFTER INSERT OR UPDATE OF erased_at ON penstock.subjects
    FOR EACH ROW WHEN (NEW.erased_at IS NOT NULL) EXECUTE FUNCTION penstock.erase_from_cache();
CREATE TRIGGER runs_erase_cache AFTER UPDATE OF subject_key ON penstock.runs
    FOR EACH ROW WHEN (OLD.subject_key IS NOT NULL AND NEW.subject_key IS NULL)
    EXECUTE FUNCTION penstock.erase_from_cache();

-- Adds to the counts; rows come in the order of their keys, so that two workers do not wait for each other crosswise.
CREATE FUNCTION penstock.cache_count(
    p_tenant text[], p_hour bigint[], p_gate text[], p_agent text[], p_name text[], p_hits bigint[], p_waited bigint[],
    p_misses bigint[], p_saved_nano bigint[], p_saved_tokens bigint[], p_calls bigint[], p_tokens_in bigint[],
    p_tokens_cached bigint[], p_tokens_written bigint[]
) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO penstock.cache_counts AS c
    SELECT * FROM unnest(
        p_tenant, p_hour, p_gate, p_agent, p_name, p_hits, p_waited, p_misses, p_saved_nano, p_saved_tokens, p_calls,
        p_tokens_in, p_tokens_cached, p_tokens_written
    )
    ON CONFLICT (tenant, hour, gate, agent, name) DO UPDATE SET
        hits = c.hits + excluded.hits, waited = c.waited + excluded.waited, misses = c.misses + excluded.misses,
        saved_nano = c.saved_nano + excluded.saved_nano, saved_tokens = c.saved_tokens + excluded.saved_tokens,
        calls = c.calls + excluded.calls, tokens_in = c.tokens_in + excluded.tokens_in,
        tokens_cached = c.tokens_cached + excluded.tokens_cached,
        tokens_written = c.tokens_written + excluded.tokens_written;
END
$$;

-- Removes what is over: entries of all tenants, at most so many, and what is left of old flights, drops and counts.
CREATE FUNCTION penstock.cache_sweep(p_limit integer, p_keep_counts_us bigint) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_now    bigint := penstock.to_us(clock_timestamp());
    v_gone   bigint := 0;
    v_tenant record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR v_tenant IN
        SELECT old.tenant, array_agg(old.key) AS keys FROM (
            SELECT e.tenant, e.key FROM penstock.cache_entries e WHERE e.expires_at <= v_now
            ORDER BY e.expires_at LIMIT p_limit
        ) AS old
        GROUP BY old.tenant ORDER BY old.tenant
    LOOP
        -- Somebody else who is at it may have it.
        PERFORM FROM penstock.cache_tenants t WHERE t.tenant = v_tenant.tenant FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND THEN
            v_gone := v_gone + penstock.cache_remove(v_tenant.tenant, (
                SELECT array_agg(e.key) FROM penstock.cache_entries e
                WHERE e.tenant = v_tenant.tenant AND e.key = ANY (v_tenant.keys) AND e.expires_at <= v_now
            ));
        END IF;
    END LOOP;
    DELETE FROM penstock.cache_flights f WHERE (f.tenant, f.key) IN (
        SELECT o.tenant, o.key FROM penstock.cache_flights o WHERE o.until < v_now - 60000000
        ORDER BY o.until LIMIT p_limit FOR UPDATE SKIP LOCKED
    );
    DELETE FROM penstock.cache_counts c WHERE c.hour < v_now - p_keep_counts_us;
    RETURN v_gone;
END
$$;

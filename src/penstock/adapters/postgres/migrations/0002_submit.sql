-- Creating runs and storing what they say.

CREATE FUNCTION penstock.erasure_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 7955997830310;

-- Gives subjects that have no key the one proposed, also those that were erased: what was erased stays unreadable,
-- because its key is gone.
CREATE FUNCTION penstock.ensure_subjects(p_tenant text[], p_subject text[], p_key bytea[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    INSERT INTO penstock.subjects (tenant, subject, key)
    SELECT DISTINCT ON (n.tenant, n.subject) n.tenant, n.subject, n.key
    FROM unnest(p_tenant, p_subject, p_key) AS n(tenant, subject, key)
    ORDER BY n.tenant, n.subject
    ON CONFLICT DO NOTHING;
    UPDATE penstock.subjects s SET key = n.key, erased_at = NULL
    FROM unnest(p_tenant, p_subject, p_key) AS n(tenant, subject, key)
    WHERE s.tenant = n.tenant AND s.subject = n.subject AND s.key IS NULL;
END
$$;

-- Inserts runs and the first event of each one inserted. Rows whose id or key exists are left alone. The order of
-- insertion is fixed, so that two callers with the same keys wait for each other and never in a circle.
CREATE FUNCTION penstock.create_runs(
    p_tenant text[], p_id uuid[], p_agent text[], p_release text[], p_env text[], p_format integer[],
    p_subject text[], p_subject_key bytea[], p_key text[], p_digest text[], p_session text[], p_priority integer[],
    p_parent uuid[], p_parent_path text[], p_root uuid[], p_deadline bigint[], p_tags text[],
    p_body bytea[], p_hash bytea[]
) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
AS $$
DECLARE
    v_at   timestamptz := clock_timestamp();
    v_made integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF EXISTS (SELECT FROM unnest(p_id, p_subject) AS n(id, subject) WHERE n.subject <> n.id::text) THEN
        PERFORM penstock.ensure_subjects(
            array_agg(n.tenant), array_agg(n.subject), array_agg(n.key)
        )
        FROM unnest(p_tenant, p_id, p_subject, p_subject_key) AS n(tenant, id, subject, key)
        WHERE n.subject <> n.id::text;
    END IF;

    WITH made AS (
        INSERT INTO penstock.runs (
            tenant, id, agent, release, env, format, last_seq, head, subject, subject_key, key, request_digest,
            session, priority, parent, parent_path, root, wake_at, created_at, deadline, tags
        )
        SELECT n.tenant, n.id, n.agent, n.release, n.env, n.format, 1, n.hash, n.subject,
               CASE WHEN n.subject = n.id::text THEN n.subject_key END, n.key, n.digest,
               n.session, n.priority, n.parent, n.parent_path, n.root, v_at, v_at, n.deadline, n.tags::jsonb
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
    RETURN v_made;
END
$$;

-- Stores payloads that are not there yet. The shared lock makes an erasure, which takes it exclusively, wait until this
-- transaction has ended; the second statement then sees a tombstone that was committed before the lock was granted.
-- The commit is not flushed: what refers to a payload (an append, a submission) commits later in the same log, and its
-- flush, which is waited for, takes this one along.
--
-- p_tenant and p_subject have one element a subject, p_codecs one a codec; p_of and p_codec are positions in them. Bytes
-- come as one string with positions, see append.
CREATE FUNCTION penstock.put_payloads(
    p_tenant text[], p_subject text[], p_codecs text[],
    p_of integer[], p_codec integer[], p_size integer[], p_from integer[], p_stored integer[],
    p_addresses bytea, p_data bytea
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_erased bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.erasure_lock());
    SELECT coalesce(array_agg(n.i), '{}') INTO v_erased
    FROM unnest(p_tenant, p_subject) WITH ORDINALITY AS n(tenant, subject, i)
    JOIN penstock.subjects s ON s.tenant = n.tenant AND s.subject = n.subject
    WHERE s.erased_at IS NOT NULL;
    INSERT INTO penstock.payloads (tenant, subject, address, codec, size, data)
    SELECT p_tenant[n.i], p_subject[n.i], substring(p_addresses FROM n.k::integer * 32 - 31 FOR 32),
           p_codecs[n.codec], n.size,
           substring(p_data FROM n.start FOR n.stored)
    FROM unnest(p_of, p_codec, p_size, p_from, p_stored) WITH ORDINALITY AS n(i, codec, size, start, stored, k)
    WHERE NOT n.i = ANY (v_erased)
    ON CONFLICT DO NOTHING;
END
$$;

-- Erases a subject's key and payloads, and leaves a tombstone. Number of payloads erased. Raises lock_not_available
-- rather than make all writers of payloads wait for one that is stuck; the caller tries again.
CREATE FUNCTION penstock.erase_subject(p_tenant text, p_subject text, p_run uuid) RETURNS integer
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_erased integer;
BEGIN
    PERFORM set_config('lock_timeout', '100ms', true);
    PERFORM pg_advisory_xact_lock(penstock.erasure_lock());
    INSERT INTO penstock.subjects (tenant, subject, key, erased_at)
    VALUES (p_tenant, p_subject, NULL, clock_timestamp())
    ON CONFLICT (tenant, subject) DO UPDATE SET key = NULL, erased_at = clock_timestamp();
    IF p_run IS NOT NULL THEN
        UPDATE penstock.runs SET subject_key = NULL WHERE tenant = p_tenant AND id = p_run AND subject = p_subject;
    END IF;
    DELETE FROM penstock.payloads WHERE tenant = p_tenant AND subject = p_subject;
    GET DIAGNOSTICS v_erased = ROW_COUNT;
    RETURN v_erased;
END
$$;

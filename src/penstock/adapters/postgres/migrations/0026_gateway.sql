-- The gateway: what its keys are bound to, and runs that are held from the moment they are made.

CREATE TABLE penstock.gateway_keys (
    tenant text COLLATE "C" NOT NULL,
    key_id uuid  NOT NULL,
    agent  text  NOT NULL,
    tags   jsonb NOT NULL DEFAULT '{}',
    budget jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, key_id)
);

-- Names of runs that several calls share. A name outlives its run until the next run of that name takes it.
CREATE TABLE penstock.gateway_runs (
    tenant text COLLATE "C" NOT NULL,
    name   text COLLATE "C" NOT NULL,
    run_id uuid NOT NULL,
    PRIMARY KEY (tenant, name)
) WITH (fillfactor = 80);

-- Makes runs that a live worker holds under epoch 1, each with its first event; what is there already stays as it is,
-- so that a call whose answer was lost can be made again. A run whose name an unended run has is not made. The caller
-- appends to them in the same transaction, which waits for the disk.
CREATE FUNCTION penstock.begin_held(
    p_worker uuid, p_tenant text[], p_id uuid[], p_agent text[], p_release text[], p_env text[], p_format integer[],
    p_subject_key bytea[], p_tags text[], p_body bytea[], p_hash bytea[], p_name text[]
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET jit = off
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_at timestamptz := clock_timestamp();
    v_mine uuid[] := p_id;
BEGIN
    IF NOT EXISTS (SELECT FROM penstock.workers w WHERE w.id = p_worker AND w.lease_until > v_at) THEN
        RETURN;
    END IF;
    IF array_remove(p_name, '') <> '{}' THEN
        -- First the names are locked, then looked at: what somebody who held one has made is seen by a later statement.
        INSERT INTO penstock.gateway_runs AS g (tenant, name, run_id)
        SELECT DISTINCT ON (n.tenant, n.name) n.tenant, n.name, n.id
        FROM unnest(p_tenant, p_name, p_id) AS n(tenant, name, id)
        WHERE n.name <> '' ORDER BY n.tenant, n.name, n.id
        ON CONFLICT (tenant, name) DO UPDATE SET run_id = g.run_id;
        UPDATE penstock.gateway_runs g SET run_id = n.id
        FROM (
            SELECT DISTINCT ON (k.tenant, k.name) k.tenant, k.name, k.id
            FROM unnest(p_tenant, p_name, p_id) AS k(tenant, name, id)
            WHERE k.name <> '' ORDER BY k.tenant, k.name, k.id
        ) AS n
        WHERE g.tenant = n.tenant AND g.name = n.name AND g.run_id <> n.id AND NOT EXISTS (
            SELECT FROM penstock.runs r WHERE r.tenant = g.tenant AND r.id = g.run_id AND r.status <> 'ended'
        );
        SELECT array_agg(n.id) INTO v_mine
        FROM unnest(p_tenant, p_id, p_name) AS n(tenant, id, name)
        LEFT JOIN penstock.gateway_runs g ON g.tenant = n.tenant AND g.name = n.name
        WHERE n.name = '' OR g.run_id = n.id;
    END IF;
    WITH made AS (
        INSERT INTO penstock.runs (
            tenant, id, agent, release, env, format, status, epoch, claims, worker, last_seq, head, subject,
            subject_key, request_digest, session, priority, parent_path, root, created_at, deadline, tags, customer
        )
        SELECT n.tenant, n.id, n.agent, n.release, n.env, n.format, 'running', 1, 1, p_worker, 1, n.hash, n.id::text,
               n.subject_key, '', '', 0, '', n.id, v_at, 0, n.tags::jsonb, coalesce(n.tags::jsonb ->> 'customer', '')
        FROM unnest(p_tenant, p_id, p_agent, p_release, p_env, p_format, p_subject_key, p_tags, p_hash)
            AS n(tenant, id, agent, release, env, format, subject_key, tags, hash)
        WHERE n.id = ANY (v_mine)
        ORDER BY n.tenant, n.id
        ON CONFLICT DO NOTHING
        RETURNING tenant, id
    )
    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    SELECT n.tenant, n.id, 1, v_at, n.body, n.hash
    FROM unnest(p_tenant, p_id, p_body, p_hash) AS n(tenant, id, body, hash)
    JOIN made ON made.tenant = n.tenant AND made.id = n.id;
END
$$;

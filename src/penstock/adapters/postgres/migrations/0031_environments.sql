-- A run is executed in its own environment: workers say which one is theirs, and get no runs of another.
--
-- A worker of older code says nothing, and gets runs of all, as before.

CREATE TABLE penstock.worker_environments (
    worker uuid PRIMARY KEY,
    env    text NOT NULL
);

-- As enlist, in an environment.
CREATE FUNCTION penstock.enlist_in(p_worker uuid, p_name text, p_lease interval, p_env text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF NOT penstock.enlist(p_worker, p_name, p_lease) THEN
        RETURN false;
    END IF;
    DELETE FROM penstock.worker_environments e
    WHERE e.worker = p_worker OR NOT EXISTS (SELECT FROM penstock.workers w WHERE w.id = e.worker);
    IF p_env IS NOT NULL THEN
        INSERT INTO penstock.worker_environments (worker, env) VALUES (p_worker, p_env)
        ON CONFLICT (worker) DO UPDATE SET env = excluded.env;
    END IF;
    RETURN true;
END
$$;

-- Changes a place in a function that is long and otherwise stays as it is, whichever migration wrote it last.
CREATE FUNCTION penstock.amend(p_function text, p_times integer, p_old text, p_new text) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_text text := pg_get_functiondef(('penstock.' || p_function)::regproc);
BEGIN
    IF length(v_text) - length(replace(v_text, p_old, '')) <> p_times * length(p_old) THEN
        RAISE EXCEPTION 'penstock.% does not say "%" so often: %', p_function, p_old, p_times;
    END IF;
    EXECUTE replace(v_text, p_old, p_new);
END
$$;

SELECT penstock.amend(
    'claim', 1,
    '    v_aside      boolean;
',
    '    v_aside      boolean;
    v_env        text := (SELECT e.env FROM penstock.worker_environments e WHERE e.worker = p_worker);
'
);
SELECT penstock.amend(
    'claim', 2, 'q.format <= p_format', 'q.format <= p_format AND (v_env IS NULL OR q.env = v_env)'
);
SELECT penstock.amend(
    'take_over', 1,
    'AND r.epoch = p_epoch',
    'AND r.epoch = p_epoch
          AND NOT EXISTS (
              SELECT FROM penstock.worker_environments e WHERE e.worker = p_worker AND e.env <> r.env
          )'
);

-- Under another name the old ones go on for workers of older code. What was declared before has no environment, and
-- falls due in any.
SELECT penstock.amend(
    'take_schedules', 1,
    'take_schedules(p_agents text[], p_lease_us bigint, p_limit integer)',
    'take_schedules_in(p_agents text[], p_lease_us bigint, p_limit integer, p_env text)'
);
SELECT penstock.amend(
    'take_schedules_in', 1,
    's.look_at <= v_now',
    's.look_at <= v_now AND coalesce(s.plan ->> ''environment'', p_env) = p_env'
);
SELECT penstock.amend(
    'take_firings', 1,
    'take_firings(p_agents text[], p_lease_us bigint, p_limit integer)',
    'take_firings_in(p_agents text[], p_lease_us bigint, p_limit integer, p_env text)'
);
SELECT penstock.amend(
    'take_firings_in', 1,
    'AND NOT t.paused',
    'AND NOT t.paused
                    AND coalesce(t.plan ->> ''environment'', p_env) = p_env'
);
DROP FUNCTION penstock.amend(text, integer, text, text);

-- As before, and an offer is to runs of the worker's environment.
CREATE OR REPLACE FUNCTION penstock.stranded(p_tenant text, p_after uuid, p_limit integer)
    RETURNS TABLE (id uuid, agent text, release text, status text, since bigint)
    LANGUAGE sql STABLE
AS $$
    WITH offered AS MATERIALIZED (
        SELECT o.release, e.env, max(w.lease_until) AS until
        FROM penstock.offers o JOIN penstock.workers w ON w.id = o.worker
        LEFT JOIN penstock.worker_environments e ON e.worker = w.id
        GROUP BY o.release, e.env
    )
    SELECT r.id, r.agent, r.release, r.status,
           penstock.to_us(greatest(
               r.created_at, now.until, CASE WHEN seen.until <= clock_timestamp() THEN seen.until END
           ))
    FROM penstock.runs r
    LEFT JOIN LATERAL (
        SELECT max(o.until) AS until FROM offered o
        WHERE o.release = r.release AND (o.env IS NULL OR o.env = r.env)
    ) AS now ON true
    LEFT JOIN penstock.offered seen ON seen.release = r.release
    WHERE r.tenant = p_tenant AND r.status <> 'ended' AND r.status <> 'quarantined'
      AND (p_after IS NULL OR r.id > p_after)
      AND (now.until IS NULL OR now.until <= clock_timestamp())
      AND NOT (r.status = 'running' AND EXISTS (
          SELECT FROM penstock.workers w WHERE w.id = r.worker AND w.lease_until > clock_timestamp()
      ))
    ORDER BY r.id LIMIT p_limit
$$;

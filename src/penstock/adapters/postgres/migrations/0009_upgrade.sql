-- Living with deploys: what workers offer, which format new runs are written in, adoption, restored databases.

-- Workers of the first schema do not write this column, and read format 1.
ALTER TABLE penstock.workers ADD COLUMN format integer NOT NULL DEFAULT 1;

-- A database that nobody has used yet begins with the newest format; another one is raised by `upgrade finalize`.
CREATE TABLE penstock.formats (
    format       integer PRIMARY KEY,
    finalized_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor        text        NOT NULL
);
INSERT INTO penstock.formats (format, actor) VALUES (1, 'schema');
INSERT INTO penstock.formats (format, actor)
SELECT 2, 'schema'
WHERE NOT EXISTS (SELECT FROM penstock.runs) AND NOT EXISTS (SELECT FROM penstock.workers);

CREATE TABLE penstock.offers (
    release text COLLATE "C" NOT NULL,
    worker  uuid NOT NULL,
    PRIMARY KEY (release, worker)
);
CREATE INDEX offers_worker ON penstock.offers (worker);

-- When a release was last offered, kept after its workers' rows are swept: since when its runs are stranded.
CREATE TABLE penstock.offered (
    release text COLLATE "C" PRIMARY KEY,
    until   timestamptz NOT NULL
);

-- Records what a worker offers now, and the newest format it reads. Offers of workers whose rows are gone are dropped;
-- when they were last good for is kept.
CREATE FUNCTION penstock.offer(p_worker uuid, p_releases text[], p_format integer) RETURNS void
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    UPDATE penstock.workers SET format = p_format WHERE id = p_worker AND format <> p_format;
    INSERT INTO penstock.offered (release, until)
    SELECT o.release, max(w.lease_until)
    FROM penstock.offers o JOIN penstock.workers w ON w.id = o.worker
    WHERE w.lease_until <= clock_timestamp()
    GROUP BY o.release ORDER BY o.release
    ON CONFLICT (release) DO UPDATE SET until = greatest(offered.until, excluded.until)
    WHERE offered.until < excluded.until;
    DELETE FROM penstock.offers o
    WHERE (o.worker = p_worker AND NOT o.release = ANY (p_releases))
       OR EXISTS (SELECT FROM penstock.workers w WHERE w.id = o.worker AND w.lease_until <= clock_timestamp())
       OR NOT EXISTS (SELECT FROM penstock.workers w WHERE w.id = o.worker);
    INSERT INTO penstock.offers (release, worker) SELECT DISTINCT r, p_worker FROM unnest(p_releases) AS r
    ON CONFLICT DO NOTHING;
END
$$;

-- Runs that no live worker offers the release of. ``since``: when the last one that did was gone, or the run was made.
CREATE FUNCTION penstock.stranded(p_tenant text, p_after uuid, p_limit integer)
    RETURNS TABLE (id uuid, agent text, release text, status text, since bigint)
    LANGUAGE sql STABLE
AS $$
    WITH offered AS MATERIALIZED (
        SELECT o.release, max(w.lease_until) AS until
        FROM penstock.offers o JOIN penstock.workers w ON w.id = o.worker GROUP BY o.release
    )
    SELECT r.id, r.agent, r.release, r.status,
           penstock.to_us(greatest(r.created_at, now.until, seen.until))
    FROM penstock.runs r
    LEFT JOIN offered now ON now.release = r.release
    LEFT JOIN penstock.offered seen ON seen.release = r.release
    WHERE r.tenant = p_tenant AND r.status <> 'ended' AND r.status <> 'quarantined'
      AND (p_after IS NULL OR r.id > p_after)
      AND (now.until IS NULL OR now.until <= clock_timestamp())
      AND NOT (r.status = 'running' AND EXISTS (
          SELECT FROM penstock.workers w WHERE w.id = r.worker AND w.lease_until > clock_timestamp()
      ))
    ORDER BY r.id LIMIT p_limit
$$;

-- Raises the format of new runs, unless a live worker cannot read it: then their names are returned.
CREATE FUNCTION penstock.finalize(p_format integer, p_actor text) RETURNS text[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_old text[];
BEGIN
    LOCK TABLE penstock.formats IN SHARE ROW EXCLUSIVE MODE;
    SELECT array_agg(w.name ORDER BY w.name) INTO v_old
    FROM penstock.workers w WHERE w.lease_until > clock_timestamp() AND w.format < p_format;
    IF v_old IS NULL THEN
        INSERT INTO penstock.formats (format, actor)
        SELECT f, p_actor FROM generate_series(1, p_format) AS f ON CONFLICT DO NOTHING;
    END IF;
    RETURN coalesce(v_old, '{}');
END
$$;

-- Puts a run under another release, with the event that says so. Nobody may hold it, and it must be as the adopter saw
-- it. The epoch is raised: a holder that comes back from the dead can append nothing.
CREATE FUNCTION penstock.adopt(
    p_tenant text, p_run uuid, p_epoch integer, p_last integer, p_release text, p_format integer, p_body bytea,
    p_hash bytea
) RETURNS text
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_row record;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT r.status, r.epoch, r.last_seq, r.worker INTO v_row
    FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    ELSIF v_row.status = 'ended' THEN
        RETURN 'ended';
    ELSIF v_row.status = 'running' AND EXISTS (
        SELECT FROM penstock.workers w WHERE w.id = v_row.worker AND w.lease_until > clock_timestamp()
    ) THEN
        RETURN 'held';
    ELSIF v_row.epoch <> p_epoch OR v_row.last_seq <> p_last THEN
        RETURN 'changed';
    END IF;
    INSERT INTO penstock.events (tenant, run_id, seq, at, body, hash)
    VALUES (p_tenant, p_run, p_last + 1, clock_timestamp(), p_body, p_hash);
    UPDATE penstock.runs
    SET release = p_release, format = greatest(format, p_format), epoch = p_epoch + 1, last_seq = p_last + 1,
        head = p_hash, claims = 0, code = '', worker = NULL,
        status = CASE status WHEN 'parked' THEN 'parked' ELSE 'queued' END,
        wake_at = CASE status WHEN 'parked' THEN wake_at ELSE clock_timestamp() END
    WHERE tenant = p_tenant AND id = p_run;
    RETURN 'adopted';
END
$$;

-- For a database that was restored from a backup. Workers of the time after the backup may still be alive and hold
-- claims whose epochs would be given out again: all epochs are raised beyond any that can have been given out since,
-- and all leases end. With p_hold nothing goes on until `resume_restored`.
CREATE FUNCTION penstock.mark_restored(p_hold boolean, p_actor text)
    RETURNS TABLE (fenced bigint, held bigint, workers bigint)
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE penstock.workers w SET lease_until = clock_timestamp() - interval '1 microsecond'
    WHERE w.lease_until > clock_timestamp();
    GET DIAGNOSTICS workers = ROW_COUNT;
    held := 0;
    IF p_hold THEN
        INSERT INTO penstock.controls (id, tenant, run_id, action, actor, reason)
        SELECT gen_random_uuid(), r.tenant, r.id, 'pause', p_actor, 'restored'
        FROM penstock.runs r WHERE r.status <> 'ended' AND r.stop IS NULL;
        UPDATE penstock.runs r SET stop = 'pause' WHERE r.status <> 'ended' AND r.stop IS NULL;
        GET DIAGNOSTICS held = ROW_COUNT;
    END IF;
    UPDATE penstock.runs r
    SET epoch = r.epoch + 1000000, worker = NULL,
        status = CASE r.status WHEN 'running' THEN 'queued' ELSE r.status END,
        wake_at = CASE r.status WHEN 'running' THEN clock_timestamp() ELSE r.wake_at END
    WHERE r.status <> 'ended';
    GET DIAGNOSTICS fenced = ROW_COUNT;
    RETURN NEXT;
END
$$;

-- Lets go on what `mark_restored` held; how many runs those were.
CREATE FUNCTION penstock.resume_restored(p_actor text) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE penstock.runs r SET stop = NULL
    FROM penstock.controls c
    WHERE c.action = 'pause' AND c.reason = 'restored' AND c.lifted_at IS NULL
      AND r.tenant = c.tenant AND r.id = c.run_id AND r.stop = 'pause';
    GET DIAGNOSTICS v_count = ROW_COUNT;
    UPDATE penstock.controls c SET lifted_at = clock_timestamp(), lifted_by = p_actor
    WHERE c.action = 'pause' AND c.reason = 'restored' AND c.lifted_at IS NULL;
    RETURN v_count;
END
$$;

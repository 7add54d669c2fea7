-- Releases that are reviewed, rolled out and rolled back.
--
-- Appends and claims never look here. A change locks its agent's route, then its releases in the order of their ids,
-- then the one row of the version: changes of other agents wait for that row only, and only until the commit.

CREATE TABLE penstock.rollout_version (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO penstock.rollout_version (version) VALUES (0);

CREATE TABLE penstock.managed_releases (
    tenant      text COLLATE "C" NOT NULL,
    id          text COLLATE "C" NOT NULL CHECK (id ~ '^[0-9a-f]{64}$'),
    agent       text COLLATE "C" NOT NULL,
    manifest    bytea       NOT NULL,
    signature   bytea       NOT NULL,
    key         text COLLATE "C" NOT NULL,
    author      text        NOT NULL,
    state       text COLLATE "C" NOT NULL DEFAULT 'draft' CHECK (
        state IN ('draft', 'review', 'approved', 'canary', 'live', 'retired', 'rejected', 'rolled_back')
    ),
    share       integer     NOT NULL DEFAULT 0,
    approved_by text        NOT NULL DEFAULT '',
    idle        boolean     NOT NULL DEFAULT false,  -- out of use, and none of its runs is open
    drafted_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, id)
);
ALTER TABLE penstock.managed_releases ALTER COLUMN manifest SET STORAGE EXTENDED;
CREATE INDEX managed_releases_newest ON penstock.managed_releases (tenant, drafted_at DESC, id DESC);
CREATE INDEX managed_releases_of ON penstock.managed_releases (tenant, agent, drafted_at DESC, id DESC);
CREATE INDEX managed_releases_used ON penstock.managed_releases (at DESC)
    WHERE state IN ('canary', 'live', 'retired', 'rolled_back') AND NOT idle;

CREATE TABLE penstock.release_steps (
    tenant  text COLLATE "C" NOT NULL,
    release text COLLATE "C" NOT NULL,
    number  integer     NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    state   text COLLATE "C" NOT NULL,
    share   integer     NOT NULL,
    actor   text        NOT NULL,
    reason  text        NOT NULL,
    PRIMARY KEY (tenant, release, number)
);

CREATE TABLE penstock.release_routes (
    tenant   text COLLATE "C" NOT NULL,
    agent    text COLLATE "C" NOT NULL,
    number   bigint  NOT NULL,
    live     text COLLATE "C" NOT NULL DEFAULT '',
    canary   text COLLATE "C" NOT NULL DEFAULT '',
    share    integer NOT NULL DEFAULT 0 CHECK (share BETWEEN 0 AND 10000),
    previous text COLLATE "C" NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, agent)
);

CREATE TABLE penstock.accepted_tools (
    tenant text COLLATE "C" NOT NULL,
    tool   text COLLATE "C" NOT NULL,
    digest text COLLATE "C" NOT NULL,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor  text        NOT NULL,
    reason text        NOT NULL,
    PRIMARY KEY (tenant, tool, digest)
);

-- Of workers, which serve all tenants; a release's id says nothing of whose it is.
CREATE TABLE penstock.release_refusals (
    worker  text COLLATE "C" NOT NULL,
    release text COLLATE "C" NOT NULL,
    why     text        NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (release, worker)
);
CREATE INDEX release_refusals_worker ON penstock.release_refusals (worker);

-- What was taken back of sessions: the versions from "first" to "latest" of a document no longer count.
CREATE TABLE penstock.release_restores (
    tenant  text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    made    bigint      NOT NULL,
    release text COLLATE "C" NOT NULL,
    source  bigint      NOT NULL,
    latest  bigint      NOT NULL,
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor   text        NOT NULL,
    PRIMARY KEY (tenant, kind, name, made)
);

CREATE FUNCTION penstock.add_release(
    p_tenant text, p_id text, p_agent text, p_manifest bytea, p_signature bytea, p_key text, p_author text,
    p_reason text, p_most integer
) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF EXISTS (SELECT FROM penstock.managed_releases r WHERE r.tenant = p_tenant AND r.id = p_id) THEN
        RETURN 'known';
    END IF;
    IF (SELECT count(*) FROM penstock.managed_releases r WHERE r.tenant = p_tenant AND r.agent = p_agent) >= p_most THEN
        RETURN 'full';
    END IF;
    INSERT INTO penstock.managed_releases (tenant, id, agent, manifest, signature, key, author)
    VALUES (p_tenant, p_id, p_agent, p_manifest, p_signature, p_key, p_author)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'known';
    END IF;
    INSERT INTO penstock.release_steps (tenant, release, number, state, share, actor, reason)
    VALUES (p_tenant, p_id, 1, 'draft', 0, p_author, p_reason);
    RETURN 'added';
END
$$;

CREATE FUNCTION penstock.change_route(
    p_tenant text, p_agent text, p_number bigint, p_live text, p_canary text, p_share integer, p_previous text,
    p_release text[], p_before text[], p_state text[], p_shares integer[], p_actor text[], p_reason text[],
    p_approved_by text[]
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_number bigint;
    v_move   record;
    v_at     timestamptz;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    INSERT INTO penstock.release_routes (tenant, agent, number) VALUES (p_tenant, p_agent, 0) ON CONFLICT DO NOTHING;
    SELECT r.number INTO v_number FROM penstock.release_routes r
    WHERE r.tenant = p_tenant AND r.agent = p_agent FOR UPDATE;
    IF v_number <> p_number - 1 THEN
        RETURN false;
    END IF;
    PERFORM FROM penstock.managed_releases r
    WHERE r.tenant = p_tenant AND r.id = ANY (p_release) ORDER BY r.id FOR UPDATE;
    IF EXISTS (
        SELECT FROM unnest(p_release, p_before) AS m(release, before)
        LEFT JOIN penstock.managed_releases r
            ON r.tenant = p_tenant AND r.id = m.release AND r.agent = p_agent AND r.state = m.before
        WHERE r.id IS NULL
    ) THEN
        RETURN false;
    END IF;
    v_at := clock_timestamp();
    FOR v_move IN
        SELECT m.* FROM unnest(p_release, p_state, p_shares, p_actor, p_reason, p_approved_by)
            AS m(release, state, share, actor, reason, approved_by)
    LOOP
        UPDATE penstock.managed_releases r
        SET state = v_move.state, share = v_move.share, at = v_at, idle = false,
            approved_by = coalesce(v_move.approved_by, r.approved_by)
        WHERE r.tenant = p_tenant AND r.id = v_move.release;
        INSERT INTO penstock.release_steps (tenant, release, number, at, state, share, actor, reason)
        SELECT p_tenant, v_move.release, coalesce(max(s.number), 0) + 1, v_at, v_move.state, v_move.share,
               v_move.actor, v_move.reason
        FROM penstock.release_steps s WHERE s.tenant = p_tenant AND s.release = v_move.release;
    END LOOP;
    UPDATE penstock.release_routes r
    SET number = p_number, live = p_live, canary = p_canary, share = p_share, previous = p_previous
    WHERE r.tenant = p_tenant AND r.agent = p_agent;
    UPDATE penstock.rollout_version SET version = version + 1;
    RETURN true;
END
$$;

-- Finds releases that are out of use and have no open runs any more, so that workers need not run them: one looks at a
-- time, and looks only for those that are not known to be idle.
CREATE FUNCTION penstock.sweep_releases(p_after interval) RETURNS integer
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_swept integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('penstock.sweep_releases', 0)) THEN
        RETURN 0;
    END IF;
    UPDATE penstock.managed_releases m SET idle = true
    WHERE m.state IN ('canary', 'live', 'retired', 'rolled_back') AND NOT m.idle
      AND m.state IN ('retired', 'rolled_back') AND m.at < clock_timestamp() - p_after
      AND NOT EXISTS (
          SELECT FROM penstock.runs r WHERE r.tenant = m.tenant AND r.status <> 'ended' AND r.release = m.id
      );
    GET DIAGNOSTICS v_swept = ROW_COUNT;
    IF v_swept > 0 THEN
        UPDATE penstock.rollout_version SET version = version + 1;
    END IF;
    RETURN v_swept;
END
$$;

CREATE FUNCTION penstock.accept_tool(
    p_tenant text, p_tool text, p_digest text, p_actor text, p_reason text, p_most integer
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF (SELECT count(*) FROM penstock.accepted_tools) >= p_most AND NOT EXISTS (
        SELECT FROM penstock.accepted_tools t WHERE t.tenant = p_tenant AND t.tool = p_tool AND t.digest = p_digest
    ) THEN
        RETURN false;
    END IF;
    INSERT INTO penstock.accepted_tools (tenant, tool, digest, actor, reason)
    VALUES (p_tenant, p_tool, p_digest, p_actor, p_reason) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE penstock.rollout_version SET version = version + 1;
    END IF;
    RETURN true;
END
$$;

CREATE FUNCTION penstock.refuse_releases(p_worker text, p_release text[], p_why text[]) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
BEGIN
    DELETE FROM penstock.release_refusals r
    WHERE (r.worker = p_worker AND NOT r.release = ANY (p_release)) OR r.at < clock_timestamp() - interval '30 days';
    INSERT INTO penstock.release_refusals (worker, release, why)
    SELECT p_worker, m.release, m.why FROM unnest(p_release, p_why) AS m(release, why)
    ON CONFLICT (release, worker) DO UPDATE SET why = excluded.why, at = clock_timestamp();
END
$$;

-- Documents of sessions that runs of a release have written to since they were last taken back from it. Run ids are
-- time-ordered: those before the release was drafted are not looked at.
CREATE FUNCTION penstock.written_by_release(
    p_tenant text, p_release text, p_from uuid, p_kind text, p_name text, p_limit integer
) RETURNS TABLE (kind text, name text, first bigint, latest bigint, others bigint, pruned_to bigint)
    LANGUAGE sql STABLE
    SET enable_seqscan = off
AS $$
    WITH wrote AS MATERIALIZED (
        SELECT v.kind, v.name, min(v.version) AS first
        FROM penstock.runs r JOIN penstock.document_versions v ON v.tenant = r.tenant AND v.run_id = r.id
        WHERE r.tenant = p_tenant AND r.id >= p_from AND r.release = p_release AND v.kind IN ('session', 'memory')
          AND (p_kind IS NULL OR (v.kind, v.name) > (p_kind, p_name))
          AND v.version > coalesce((
              SELECT max(b.made) FROM penstock.release_restores b
              WHERE b.tenant = v.tenant AND b.kind = v.kind AND b.name = v.name
          ), 0)
        GROUP BY v.kind, v.name ORDER BY v.kind, v.name LIMIT p_limit
    )
    SELECT w.kind, w.name, w.first, d.version, (
        SELECT count(*) FROM penstock.document_versions v
        LEFT JOIN penstock.runs r ON r.tenant = v.tenant AND r.id = v.run_id
        WHERE v.tenant = p_tenant AND v.kind = w.kind AND v.name = w.name AND v.version > w.first
          AND r.release IS DISTINCT FROM p_release
    ), d.pruned_to
    FROM wrote w JOIN penstock.documents d ON d.tenant = p_tenant AND d.kind = w.kind AND d.name = w.name
    ORDER BY w.kind, w.name
$$;

-- Order of locks as in put_document: erasure, then the document's row.
CREATE FUNCTION penstock.take_back_document(
    p_tenant text, p_release text, p_kind text, p_name text, p_expected bigint, p_version bigint, p_by text,
    p_codec text, p_size integer, p_digest bytea, p_data bytea, p_keep bigint, p_prune integer,
    OUT answer text, OUT made bigint
)
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_old     penstock.document_versions;
    v_subject text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.erasure_lock());
    SELECT d.version INTO made FROM penstock.documents d
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name FOR NO KEY UPDATE;
    IF made IS DISTINCT FROM p_expected THEN
        answer := 'changed';
        made := coalesce(made, 0);
        RETURN;
    END IF;
    IF p_version > 0 THEN
        SELECT v.* INTO v_old FROM penstock.document_versions v
        WHERE v.tenant = p_tenant AND v.kind = p_kind AND v.name = p_name AND v.version = p_version;
        IF NOT FOUND OR (v_old.data IS NULL AND NOT v_old.erased) THEN
            answer := 'gone';
            RETURN;
        END IF;
    ELSE
        SELECT v.subject INTO v_subject FROM penstock.document_versions v
        WHERE v.tenant = p_tenant AND v.kind = p_kind AND v.name = p_name AND v.version = p_expected;
        v_old.subject := coalesce(v_subject, '');
        v_old.erased := false;
        v_old.codec := p_codec;
        v_old.size := p_size;
        v_old.digest := p_digest;
        v_old.data := p_data;
    END IF;
    made := p_expected + 1;
    answer := 'restored';
    UPDATE penstock.documents d SET state = 'ok', reason = '', reason_run = NULL
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name;
    PERFORM penstock.add_document_version(
        p_tenant, p_kind, p_name, made, NULL, '', p_by, v_old.subject, v_old.erased, v_old.codec, v_old.size,
        v_old.digest, v_old.data, p_keep, p_prune
    );
    INSERT INTO penstock.release_restores (tenant, kind, name, made, release, source, latest, actor)
    VALUES (p_tenant, p_kind, p_name, made, p_release, p_version, p_expected, p_by);
END
$$;

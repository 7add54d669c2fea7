-- Documents: the state of sessions, what agents remember in them, and documents that agents share.
--
-- Nothing looks for documents: they are read and written by name, and idle ones cost nobody anything.
--
-- Order of locks: those of an append and of an erasure, shared; then the document's row; then the row of the run that
-- writes. An append never takes a document's row.

CREATE TABLE penstock.documents (
    tenant     text COLLATE "C" NOT NULL,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('session', 'memory', 'shared')),
    name       text COLLATE "C" NOT NULL,
    version    bigint  NOT NULL,
    pruned_to  bigint  NOT NULL DEFAULT 0,  -- no version up to this one has content
    state      text COLLATE "C" NOT NULL DEFAULT 'ok' CHECK (state IN ('ok', 'quarantined')),
    reason     text    NOT NULL DEFAULT '',
    reason_run uuid,
    PRIMARY KEY (tenant, kind, name)
) WITH (fillfactor = 80);
CREATE INDEX documents_quarantined ON penstock.documents (tenant, kind, name) WHERE state = 'quarantined';

-- A version without content was erased, was pruned, or is damaged. A pruned one stays until the run that made it has
-- ended: the run may ask for it again after a crash.
CREATE TABLE penstock.document_versions (
    tenant  text COLLATE "C" NOT NULL,
    kind    text COLLATE "C" NOT NULL,
    name    text COLLATE "C" NOT NULL,
    version bigint      NOT NULL,
    at      timestamptz NOT NULL,
    run_id  uuid,
    path    text COLLATE "C" NOT NULL,
    author  text        NOT NULL,
    subject text COLLATE "C" NOT NULL,
    erased  boolean     NOT NULL DEFAULT false,
    pruned  boolean     NOT NULL DEFAULT false,
    codec   text        NOT NULL,
    size    integer     NOT NULL,
    digest  bytea,
    data    bytea,
    PRIMARY KEY (tenant, kind, name, version)
);
ALTER TABLE penstock.document_versions ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX document_versions_write ON penstock.document_versions (tenant, run_id, path)
    WHERE run_id IS NOT NULL;
CREATE INDEX document_versions_subject ON penstock.document_versions (tenant, subject)
    WHERE subject <> '' AND NOT erased;
CREATE INDEX document_versions_pruned ON penstock.document_versions (tenant, kind, name, version) WHERE pruned;

-- Adds a version to a document whose row is locked, and takes away old content. Content of an erased subject is not
-- stored: the caller holds the erasure lock, so a tombstone that is not seen here comes after this transaction.
CREATE FUNCTION penstock.add_document_version(
    p_tenant text, p_kind text, p_name text, p_version bigint, p_run uuid, p_path text, p_by text, p_subject text,
    p_erased boolean, p_codec text, p_size integer, p_digest bytea, p_data bytea, p_keep bigint, p_prune integer
) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
AS $$
DECLARE
    v_gone boolean := p_erased OR (p_subject <> '' AND EXISTS (
        SELECT FROM penstock.subjects s
        WHERE s.tenant = p_tenant AND s.subject = p_subject AND s.erased_at IS NOT NULL
    ));
    v_to bigint;
BEGIN
    INSERT INTO penstock.document_versions (
        tenant, kind, name, version, at, run_id, path, author, subject, erased, codec, size, digest, data
    ) VALUES (
        p_tenant, p_kind, p_name, p_version, clock_timestamp(), p_run, p_path, p_by, p_subject, v_gone, p_codec,
        CASE WHEN v_gone THEN 0 ELSE p_size END, CASE WHEN NOT v_gone THEN p_digest END,
        CASE WHEN NOT v_gone THEN p_data END
    );
    SELECT least(p_version - p_keep, d.pruned_to + p_prune) INTO v_to
    FROM penstock.documents d WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name;
    UPDATE penstock.documents d SET version = p_version, pruned_to = greatest(d.pruned_to, v_to)
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name;
    IF p_version <= p_keep THEN
        RETURN;
    END IF;
    UPDATE penstock.document_versions v SET pruned = true, size = 0, digest = NULL, data = NULL
    WHERE v.tenant = p_tenant AND v.kind = p_kind AND v.name = p_name AND v.version <= v_to
      AND v.version > v_to - p_prune AND NOT v.pruned;
    DELETE FROM penstock.document_versions v USING (
        SELECT o.version, o.run_id FROM penstock.document_versions o
        WHERE o.tenant = p_tenant AND o.kind = p_kind AND o.name = p_name AND o.pruned
        ORDER BY o.version LIMIT p_prune
    ) AS old
    WHERE v.tenant = p_tenant AND v.kind = p_kind AND v.name = p_name AND v.version = old.version
      AND NOT EXISTS (
          SELECT FROM penstock.runs r WHERE r.tenant = p_tenant AND r.id = old.run_id AND r.status <> 'ended'
      );
END
$$;

-- Writes a version for a run. One autocommit call: the shared lock makes a kill that is being sealed wait for it, and
-- the second statement sees a kill that was sealed before the lock was granted.
CREATE FUNCTION penstock.put_document(
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
    SELECT r.epoch, r.status, r.stop INTO v_run FROM penstock.runs r
    WHERE r.tenant = p_tenant AND r.id = p_run FOR SHARE;
    IF NOT FOUND OR v_run.epoch <> p_epoch OR v_run.status <> 'running' THEN
        answer := 'fenced';
    ELSIF EXISTS (
        SELECT FROM penstock.controls c
        WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND (c.tenant IS NULL OR c.tenant = p_tenant)
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

-- Makes a new version with the content of an older one; NULL when there is none.
CREATE FUNCTION penstock.restore_document(
    p_tenant text, p_kind text, p_name text, p_version bigint, p_by text, p_keep bigint, p_prune integer
) RETURNS bigint
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_latest bigint;
    v_old    penstock.document_versions;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM pg_advisory_xact_lock_shared(penstock.erasure_lock());
    SELECT d.version INTO v_latest FROM penstock.documents d
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name FOR NO KEY UPDATE;
    SELECT v.* INTO v_old FROM penstock.document_versions v
    WHERE v.tenant = p_tenant AND v.kind = p_kind AND v.name = p_name AND v.version = p_version
      AND v.data IS NOT NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE penstock.documents d SET state = 'ok', reason = '', reason_run = NULL
    WHERE d.tenant = p_tenant AND d.kind = p_kind AND d.name = p_name;
    PERFORM penstock.add_document_version(
        p_tenant, p_kind, p_name, v_latest + 1, NULL, '', p_by, v_old.subject, false, v_old.codec, v_old.size,
        v_old.digest, v_old.data, p_keep, p_prune
    );
    RETURN v_latest + 1;
END
$$;

-- What is erased of a person is erased of documents, too, in the same transaction.
CREATE FUNCTION penstock.erase_from_documents() RETURNS trigger LANGUAGE plpgsql
    SET enable_seqscan = off
AS $$
BEGIN
    UPDATE penstock.document_versions SET erased = true, size = 0, digest = NULL, data = NULL
    WHERE tenant = NEW.tenant AND subject = NEW.subject AND subject <> '' AND NOT erased;
    RETURN NULL;
END
$$;
CREATE TRIGGER subjects_erase_documents AFTER INSERT OR UPDATE OF erased_at ON penstock.subjects
    FOR EACH ROW WHEN (NEW.erased_at IS NOT NULL) EXECUTE FUNCTION penstock.erase_from_documents();

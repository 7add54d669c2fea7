-- The audit log of each tenant: a Merkle tree over the heads of its chains, checkpoints of it, and the keys that sign them.
--
-- Nothing here is part of an append: a sealer reads where runs stand, without a lock, and appends leaves for those that
-- have gone on. Leaves, full tiles and keys are never changed.

CREATE TABLE penstock.audit_logs (
    tenant     text COLLATE "C" NOT NULL PRIMARY KEY,
    size       bigint NOT NULL,
    frontier   bytea  NOT NULL,   -- roots of the largest full subtrees, from the left
    actions    bigint NOT NULL,   -- of the list of actions: covered up to here
    key_number integer NOT NULL,  -- the last key that the log has a leaf of
    at         bigint NOT NULL,   -- of the last leaves; never goes back, whatever the clock does
    ended_no   bigint NOT NULL DEFAULT 0  -- of runs that ended: looked at up to here
) WITH (fillfactor = 50);

CREATE TABLE penstock.audit_leaves (
    tenant text COLLATE "C" NOT NULL,
    index  bigint NOT NULL,
    kind   text COLLATE "C" NOT NULL,
    run_id uuid,
    seq    bigint NOT NULL,
    at     bigint NOT NULL,
    data   bytea  NOT NULL,
    PRIMARY KEY (tenant, index)
);
CREATE INDEX audit_leaves_runs ON penstock.audit_leaves (tenant, run_id, seq) WHERE run_id IS NOT NULL;

-- Tiles of 256 nodes, as soon as they are full; what is not full yet follows from the leaves and the roots below.
CREATE TABLE penstock.audit_tiles (
    tenant text COLLATE "C" NOT NULL,
    level  integer NOT NULL,
    index  bigint  NOT NULL,
    nodes  bytea   NOT NULL,
    root   bytea   NOT NULL,
    PRIMARY KEY (tenant, level, index)
);
ALTER TABLE penstock.audit_tiles ALTER COLUMN nodes SET STORAGE EXTERNAL;

CREATE TABLE penstock.audit_checkpoints (
    tenant    text COLLATE "C" NOT NULL,
    size      bigint NOT NULL,
    note      text   NOT NULL,
    at        bigint NOT NULL,
    witnesses text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, size)
);

CREATE TABLE penstock.audit_keys (
    number    integer PRIMARY KEY,
    public    bytea  NOT NULL UNIQUE,
    statement text   NOT NULL,
    at        bigint NOT NULL
);

-- Whose turn it is to seal, how that stands, and where the look through all runs goes on.
CREATE TABLE penstock.audit_turn (
    one         boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder      uuid,
    lease_until bigint NOT NULL DEFAULT 0,
    problem     text   NOT NULL DEFAULT '',
    problem_at  bigint NOT NULL DEFAULT 0,
    sealed_at   bigint NOT NULL DEFAULT 0,
    place       bytea  NOT NULL DEFAULT ''
) WITH (fillfactor = 50);
INSERT INTO penstock.audit_turn DEFAULT VALUES;

CREATE FUNCTION penstock.keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log only grows';
END;
$$;
CREATE TRIGGER audit_leaves_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON penstock.audit_leaves
    FOR EACH STATEMENT EXECUTE FUNCTION penstock.keep_audit();
CREATE TRIGGER audit_tiles_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON penstock.audit_tiles
    FOR EACH STATEMENT EXECUTE FUNCTION penstock.keep_audit();
CREATE TRIGGER audit_keys_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON penstock.audit_keys
    FOR EACH STATEMENT EXECUTE FUNCTION penstock.keep_audit();

CREATE FUNCTION penstock.take_audit_turn(p_holder uuid, p_lease_us bigint, OUT mine boolean, OUT now_us bigint)
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    now_us := penstock.now_us();
    PERFORM FROM penstock.audit_turn t WHERE t.holder = p_holder OR t.lease_until <= now_us FOR UPDATE SKIP LOCKED;
    mine := FOUND;
    IF mine THEN
        PERFORM set_config('synchronous_commit', 'off', true);
        UPDATE penstock.audit_turn SET holder = p_holder, lease_until = now_us + p_lease_us;
    END IF;
END
$$;

-- Appends to logs, each all or nothing. Tenants are locked in their order, so that two calls never wait for each other.
-- Leaves and tiles name the log that they are of by its place in the arrays, from 1.
CREATE FUNCTION penstock.audit_grow(
    p_tenant text[], p_was bigint[], p_size bigint[], p_frontier bytea[], p_actions bigint[], p_key integer[],
    p_at bigint[], p_note text[],
    p_leaf_of integer[], p_leaf_index bigint[], p_leaf_kind text[], p_leaf_run uuid[], p_leaf_seq bigint[],
    p_leaf_data bytea[],
    p_tile_of integer[], p_tile_level integer[], p_tile_index bigint[], p_tile_nodes bytea[], p_tile_root bytea[],
    p_keep integer
) RETURNS boolean[]
    LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_grown boolean[] := array_fill(false, ARRAY[cardinality(p_tenant)]);
    v_row   record;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    INSERT INTO penstock.audit_logs (tenant, size, frontier, actions, key_number, at)
    SELECT t.tenant, 0, '', 0, 0, 0 FROM unnest(p_tenant) AS t(tenant) ORDER BY t.tenant ON CONFLICT DO NOTHING;
    FOR v_row IN
        SELECT n.i, l.size FROM unnest(p_tenant) WITH ORDINALITY AS n(tenant, i)
        JOIN penstock.audit_logs l ON l.tenant = n.tenant ORDER BY l.tenant FOR UPDATE OF l
    LOOP
        v_grown[v_row.i] := v_row.size = p_was[v_row.i];
    END LOOP;
    UPDATE penstock.audit_logs l
    SET size = n.size, frontier = n.frontier, actions = n.actions, key_number = n.key, at = n.at
    FROM unnest(p_tenant, p_size, p_frontier, p_actions, p_key, p_at)
        WITH ORDINALITY AS n(tenant, size, frontier, actions, key, at, i)
    WHERE v_grown[n.i] AND l.tenant = n.tenant;
    INSERT INTO penstock.audit_leaves (tenant, index, kind, run_id, seq, at, data)
    SELECT p_tenant[n.i], n.index, n.kind, n.run, n.seq, p_at[n.i], n.data
    FROM unnest(p_leaf_of, p_leaf_index, p_leaf_kind, p_leaf_run, p_leaf_seq, p_leaf_data)
        AS n(i, index, kind, run, seq, data)
    WHERE v_grown[n.i];
    INSERT INTO penstock.audit_tiles (tenant, level, index, nodes, root)
    SELECT p_tenant[n.i], n.level, n.index, n.nodes, n.root
    FROM unnest(p_tile_of, p_tile_level, p_tile_index, p_tile_nodes, p_tile_root) AS n(i, level, index, nodes, root)
    WHERE v_grown[n.i];
    INSERT INTO penstock.audit_checkpoints (tenant, size, note, at)
    SELECT n.tenant, n.size, n.note, n.at
    FROM unnest(p_tenant, p_size, p_note, p_at) WITH ORDINALITY AS n(tenant, size, note, at, i) WHERE v_grown[n.i];
    DELETE FROM penstock.audit_checkpoints c USING (
        SELECT n.tenant, (
            SELECT o.size FROM penstock.audit_checkpoints o WHERE o.tenant = n.tenant
            ORDER BY o.size DESC OFFSET p_keep LIMIT 1
        ) AS oldest FROM unnest(p_tenant) AS n(tenant)
    ) AS old
    WHERE c.tenant = old.tenant AND c.size <= old.oldest AND c.witnesses = '{}';
    UPDATE penstock.audit_turn SET sealed_at = penstock.now_us(), problem = '', problem_at = 0;
    RETURN v_grown;
END
$$;

-- The first leaf of that time or later, by halving: times do not go back.
CREATE FUNCTION penstock.audit_leaf_since(p_tenant text, p_at bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_low  bigint := 0;
    v_high bigint := coalesce((SELECT l.size FROM penstock.audit_logs l WHERE l.tenant = p_tenant), 0);
    v_mid  bigint;
BEGIN
    WHILE v_low < v_high LOOP
        v_mid := (v_low + v_high) / 2;
        IF (SELECT l.at FROM penstock.audit_leaves l WHERE l.tenant = p_tenant AND l.index = v_mid) < p_at THEN
            v_low := v_mid + 1;
        ELSE
            v_high := v_mid;
        END IF;
    END LOOP;
    RETURN v_low;
END
$$;

-- False when its number is not the next.
CREATE FUNCTION penstock.audit_add_key(p_number integer, p_public bytea, p_statement text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM FROM penstock.audit_turn FOR UPDATE;
    IF (SELECT coalesce(max(k.number), 0) + 1 FROM penstock.audit_keys k) <> p_number THEN
        RETURN false;
    END IF;
    INSERT INTO penstock.audit_keys (number, public, statement, at)
    VALUES (p_number, p_public, p_statement, penstock.now_us());
    RETURN true;
END
$$;

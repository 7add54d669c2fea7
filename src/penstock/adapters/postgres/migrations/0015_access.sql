-- Who may come in, and what they did: keys, sessions of the console, the list of actions of each tenant.
--
-- Of secrets there are only SHA-256 digests. A credential says whose tenant it is, so it is looked up by itself: by the
-- public part of a key, by the digest of a session's secret. Times are microseconds since the epoch; NULL = never.

CREATE TABLE penstock.keys (
    tenant      text COLLATE "C" NOT NULL,
    id          uuid    NOT NULL,
    handle      text COLLATE "C" NOT NULL UNIQUE,
    digest      bytea   NOT NULL,
    name        text    NOT NULL,
    roles       text[]  NOT NULL,
    permissions text[],
    created_at  bigint  NOT NULL,
    created_by  text    NOT NULL,
    expires_at  bigint,
    revoked_at  bigint,
    used_at     bigint,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 80);

CREATE TABLE penstock.sign_ins (
    tenant      text COLLATE "C" NOT NULL,
    id          uuid    NOT NULL,
    digest      bytea   NOT NULL UNIQUE,
    actor       text COLLATE "C" NOT NULL,
    name        text    NOT NULL,
    roles       text[]  NOT NULL,
    permissions text[]  NOT NULL,
    key_id      uuid,
    created_at  bigint  NOT NULL,
    used_at     bigint  NOT NULL,
    expires_at  bigint  NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, key_id) REFERENCES penstock.keys (tenant, id) ON DELETE CASCADE
) WITH (fillfactor = 80);

CREATE INDEX sign_ins_actors ON penstock.sign_ins (tenant, actor);
CREATE INDEX sign_ins_keys ON penstock.sign_ins (tenant, key_id);
CREATE INDEX sign_ins_over ON penstock.sign_ins (tenant, expires_at);

-- No row: the handle is taken, or (p_first_admin) the tenant has an admin's key. The lock makes those who start at once
-- come one after the other.
CREATE FUNCTION penstock.add_key(
    p_tenant text, p_id uuid, p_handle text, p_digest bytea, p_name text, p_roles text[], p_permissions text[],
    p_created_by text, p_expires_us bigint, p_first_admin boolean
) RETURNS SETOF penstock.keys
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog
AS $$
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    IF p_first_admin THEN
        PERFORM pg_advisory_xact_lock(hashtextextended('penstock.first_admin.' || p_tenant, 0));
        IF penstock.has_admin(p_tenant) THEN
            RETURN;
        END IF;
    END IF;
    RETURN QUERY
    INSERT INTO penstock.keys (
        tenant, id, handle, digest, name, roles, permissions, created_at, created_by, expires_at
    ) VALUES (
        p_tenant, p_id, p_handle, p_digest, p_name, p_roles, p_permissions, v_now, p_created_by, v_now + p_expires_us
    )
    ON CONFLICT (handle) DO NOTHING
    RETURNING *;
END;
$$;

CREATE FUNCTION penstock.has_admin(p_tenant text) RETURNS boolean
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog
AS $$
    SELECT EXISTS (
        SELECT FROM penstock.keys k
        WHERE k.tenant = p_tenant AND 'admin' = ANY (k.roles) AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > penstock.now_us())
    )
$$;

CREATE FUNCTION penstock.revoke_key(p_tenant text, p_id uuid) RETURNS SETOF penstock.keys
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog
AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    UPDATE penstock.keys SET revoked_at = penstock.now_us()
    WHERE tenant = p_tenant AND id = p_id AND revoked_at IS NULL;
    DELETE FROM penstock.sign_ins WHERE tenant = p_tenant AND key_id = p_id;
    RETURN QUERY SELECT * FROM penstock.keys WHERE tenant = p_tenant AND id = p_id;
END;
$$;

CREATE FUNCTION penstock.open_session(
    p_tenant text, p_id uuid, p_digest bytea, p_actor text, p_name text, p_roles text[], p_permissions text[],
    p_key uuid, p_us bigint, p_most integer
) RETURNS SETOF penstock.sign_ins
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog
AS $$
DECLARE
    v_now bigint := penstock.now_us();
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    DELETE FROM penstock.sign_ins WHERE tenant = p_tenant AND expires_at <= v_now;
    RETURN QUERY
    INSERT INTO penstock.sign_ins VALUES (
        p_tenant, p_id, p_digest, p_actor, p_name, p_roles, p_permissions, p_key, v_now, v_now, v_now + p_us
    ) RETURNING *;
    DELETE FROM penstock.sign_ins s USING (
        SELECT o.id FROM penstock.sign_ins o WHERE o.tenant = p_tenant AND o.actor = p_actor
        ORDER BY o.created_at DESC, o.id DESC OFFSET p_most
    ) AS old
    WHERE s.tenant = p_tenant AND s.id = old.id;
END;
$$;

-- Actions: numbered and chained per tenant. The row of action_heads is what they are chained to, and what orders them.
CREATE TABLE penstock.action_heads (
    tenant text COLLATE "C" NOT NULL PRIMARY KEY,
    seq    bigint NOT NULL,
    hash   bytea  NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE penstock.actions (
    tenant text COLLATE "C" NOT NULL,
    seq    bigint NOT NULL,
    at     bigint NOT NULL,
    actor  text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    body   bytea  NOT NULL,
    hash   bytea  NOT NULL,
    PRIMARY KEY (tenant, seq)
);

CREATE INDEX actions_actors ON penstock.actions (tenant, actor, seq);
CREATE INDEX actions_kinds ON penstock.actions (tenant, action, seq);

CREATE FUNCTION penstock.keep_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the list of actions only grows';
END;
$$;

CREATE TRIGGER actions_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON penstock.actions
    FOR EACH STATEMENT EXECUTE FUNCTION penstock.keep_actions();

-- Appends in the order of the arrays. Tenants are locked in their order, so that two calls never wait for each other.
CREATE FUNCTION penstock.record_actions(
    p_tenants text[], p_actors text[], p_actions text[], p_bodies bytea[], p_genesis bytea[]
) RETURNS TABLE (seq bigint, at bigint, hash bytea)
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog
AS $$
#variable_conflict use_column
DECLARE
    v_index integer;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    INSERT INTO penstock.action_heads AS h (tenant, seq, hash)
    SELECT DISTINCT ON (t.tenant) t.tenant, 0, t.genesis
    FROM unnest(p_tenants, p_genesis) AS t (tenant, genesis) ORDER BY t.tenant
    ON CONFLICT (tenant) DO NOTHING;
    PERFORM FROM penstock.action_heads h WHERE h.tenant = ANY (p_tenants) ORDER BY h.tenant FOR NO KEY UPDATE;
    FOR v_index IN 1 .. cardinality(p_tenants) LOOP
        SELECT h.seq + 1, h.hash INTO seq, hash FROM penstock.action_heads h WHERE h.tenant = p_tenants[v_index];
        at := penstock.now_us();
        hash := sha256(hash || int8send(seq) || int8send(at) || p_bodies[v_index]);
        INSERT INTO penstock.actions (tenant, seq, at, actor, action, body, hash)
        VALUES (p_tenants[v_index], seq, at, p_actors[v_index], p_actions[v_index], p_bodies[v_index], hash);
        UPDATE penstock.action_heads h SET seq = record_actions.seq, hash = record_actions.hash
        WHERE h.tenant = p_tenants[v_index];
        RETURN NEXT;
    END LOOP;
END;
$$;

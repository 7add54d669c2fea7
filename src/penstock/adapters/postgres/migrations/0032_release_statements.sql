-- What is decided about an agent's releases is signed: one statement for each change of its route, each over the one
-- before it. Processes that hold the keys go by these; routes, states and steps are for lists.
--
-- Servers of older code change routes without a statement: such a change does not count where keys are trusted, until
-- somebody confirms what is in use.

CREATE TABLE penstock.release_statements (
    tenant    text COLLATE "C" NOT NULL,
    agent     text COLLATE "C" NOT NULL,
    number    bigint NOT NULL,
    body      bytea  NOT NULL,
    key       text COLLATE "C" NOT NULL,
    signature bytea  NOT NULL,
    PRIMARY KEY (tenant, agent, number)
);

ALTER TABLE penstock.accepted_tools
    ADD COLUMN key text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN signature bytea NOT NULL DEFAULT '';

-- As change_route, with the statement of the change. "p_before": the number of the route before. Locks in the same
-- order: the route, its releases, the version.
CREATE FUNCTION penstock.change_route_signed(
    p_tenant text, p_agent text, p_number bigint, p_live text, p_canary text, p_share integer, p_previous text,
    p_release text[], p_was text[], p_state text[], p_shares integer[], p_actor text[], p_reason text[],
    p_approved_by text[], p_before bigint, p_body bytea, p_key text, p_signature bytea
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
    SET enable_seqscan = off
AS $$
DECLARE
    v_number bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    INSERT INTO penstock.release_routes (tenant, agent, number) VALUES (p_tenant, p_agent, 0) ON CONFLICT DO NOTHING;
    SELECT r.number INTO v_number FROM penstock.release_routes r
    WHERE r.tenant = p_tenant AND r.agent = p_agent FOR UPDATE;
    IF v_number <> p_before OR EXISTS (
        SELECT FROM penstock.release_statements s
        WHERE s.tenant = p_tenant AND s.agent = p_agent AND s.number >= p_number
    ) THEN
        RETURN false;
    END IF;
    -- Numbers of routes grow by one, but for one that was set back behind the statements about it.
    UPDATE penstock.release_routes r SET number = p_number - 1
    WHERE r.tenant = p_tenant AND r.agent = p_agent AND r.number <> p_number - 1;
    IF NOT penstock.change_route(
        p_tenant, p_agent, p_number, p_live, p_canary, p_share, p_previous,
        p_release, p_was, p_state, p_shares, p_actor, p_reason, p_approved_by
    ) THEN
        UPDATE penstock.release_routes r SET number = v_number WHERE r.tenant = p_tenant AND r.agent = p_agent;
        RETURN false;
    END IF;
    INSERT INTO penstock.release_statements (tenant, agent, number, body, key, signature)
    VALUES (p_tenant, p_agent, p_number, p_body, p_key, p_signature);
    RETURN true;
END
$$;

-- "p_at": null = now.
CREATE FUNCTION penstock.accept_tool_signed(
    p_tenant text, p_tool text, p_digest text, p_actor text, p_reason text, p_most integer, p_at timestamptz,
    p_key text, p_signature bytea
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF NOT penstock.accept_tool(p_tenant, p_tool, p_digest, p_actor, p_reason, p_most) THEN
        RETURN false;
    END IF;
    IF p_signature <> ''::bytea THEN
        UPDATE penstock.accepted_tools t
        SET at = coalesce(p_at, t.at), actor = p_actor, reason = p_reason, key = p_key, signature = p_signature
        WHERE t.tenant = p_tenant AND t.tool = p_tool AND t.digest = p_digest;
        UPDATE penstock.rollout_version SET version = version + 1;
    END IF;
    RETURN true;
END
$$;

"""Every statement that is not a function of a migration, by name."""

from functools import cache

NOW = "SELECT penstock.to_us(clock_timestamp())"

CREATE_RUNS = """
SELECT penstock.create_ranked_runs(
    $1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::bytea[], $9::text[],
    $10::text[], $11::text[], $12::int[], $13::uuid[], $14::text[], $15::uuid[], $16::bigint[], $17::text[],
    $18::bytea[], $19::bytea[], $20::bigint[]
)"""

# The rows are locked because that writes to the log: the answer then waits for the synchronous standby. Somebody else's
# commit can be seen before the standby has it, if the session that waited for it was cut.
SUBMITTED = """
WITH found AS MATERIALIZED (
    SELECT n.i, n.tenant, r.id, r.request_digest
    FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS n(tenant, id, key, i)
    CROSS JOIN LATERAL (
        SELECT id, request_digest FROM penstock.runs k WHERE n.key IS NOT NULL AND k.tenant = n.tenant AND k.key = n.key
        UNION ALL
        SELECT id, request_digest FROM penstock.runs k WHERE n.key IS NULL AND k.tenant = n.tenant AND k.id = n.id
    ) AS r
), flushed AS MATERIALIZED (
    SELECT r.tenant, r.id, set_config('synchronous_commit', 'on', true)
    FROM penstock.runs r
    WHERE (r.tenant, r.id) IN (SELECT f.tenant, f.id FROM found f)
    ORDER BY r.tenant, r.id
    FOR KEY SHARE
)
SELECT f.i, f.id, f.request_digest
FROM found f LEFT JOIN flushed l ON l.tenant = f.tenant AND l.id = f.id
ORDER BY f.i"""

ENSURE_SUBJECT = "SELECT penstock.ensure_subjects($1::text[], $2::text[], $3::bytea[])"

SUBJECT_KEY = """
SELECT key FROM penstock.subjects WHERE tenant = $1 AND subject = $2
UNION ALL
SELECT subject_key FROM penstock.runs WHERE tenant = $1 AND id = $3 AND subject = $2
LIMIT 1"""

ERASE_SUBJECT = "SELECT penstock.erase_subject($1, $2, $3)"

ENLIST = "SELECT penstock.enlist_in($1, $2, $3 * interval '1 second', $4)"

RENEW = """
UPDATE penstock.workers SET lease_until = clock_timestamp() + $2 * interval '1 second'
WHERE id = $1 AND lease_until > clock_timestamp()
RETURNING true"""

RETIRE = """
UPDATE penstock.workers SET lease_until = clock_timestamp() - interval '1 microsecond'
WHERE id = $1 AND lease_until > clock_timestamp()"""

CLAIM = """
SELECT tenant, id, epoch, last_seq, head, agent, release, subject, subject_key, parent, parent_path, claims, stop,
       now_us, deadline, root
FROM penstock.claim($1, $2::text[], $3, $4)"""

TAKE_OVER = """
SELECT tenant, id, epoch, last_seq, head, agent, release, subject, subject_key, parent, parent_path, claims, stop,
       now_us, deadline, root
FROM penstock.take_over($1, $2, $3, $4, $5)"""

PUT_BACK = """
UPDATE penstock.runs r
SET status = 'queued', worker = NULL, wake_at = clock_timestamp(),
    claims = CASE
        WHEN EXISTS (
            SELECT FROM unnest($4::text[], $5::uuid[]) AS t(tenant, id) WHERE t.tenant = r.tenant AND t.id = r.id
        ) THEN r.claims
        ELSE greatest(0, r.claims - 1)
    END
FROM (
    SELECT q.tenant, q.id FROM penstock.runs q
    WHERE q.worker = $1 AND q.status = 'running' AND NOT EXISTS (
        SELECT FROM unnest($2::text[], $3::uuid[]) AS k(tenant, id) WHERE k.tenant = q.tenant AND k.id = q.id
    )
    ORDER BY q.id FOR NO KEY UPDATE
) AS unknown
WHERE r.tenant = unknown.tenant AND r.id = unknown.id
RETURNING true"""

# Payloads and what refers to them go in one statement, so that one commit makes both durable or neither: in two, a
# server that crashed and was back in between would have lost the first. The functions run in this order, since a
# select list is made when its rows are there; the later one decides that the commit waits for the disk.
CREATE_RUNS_WITH = f"""
WITH stored AS MATERIALIZED (SELECT penstock.put_payloads(
    $21::text[], $22::text[], $23::text[],
    $24::text::int[], $25::text::int[], $26::text::int[], $27::text::int[], $28::text::int[], $29::bytea, $30::bytea
))
{CREATE_RUNS} FROM stored"""  # noqa: S608 - made of constants

# Numbers travel as array literals: the driver looks at each element of a list for longer than printing it takes.
_APPEND = """penstock.append(
    $1::text[], $2::uuid[], $3::text::int[], $4::text::int[], $5::text::int[], $6::text::int[], $7::text::int[],
    $8::text::bigint[],
    $9::text::int[], $10::text::int[], $11::text::int[], $12::text::int[], $13::bytea, $14::bytea, $15,
    $16::int[], $17::text[], $18::bigint[], $19::bytea[], $20::text[], $21::text[],
    $22::int[], $23::text[],
    $24::int[], $25::text[], $26::uuid[], $27::text[], $28::text[], $29::bytea[],
    $30::int[], $31::uuid[], $32::text[], $33::text[], $34::text[], $35::int[], $36::text[], $37::bytea[],
    $38::text[], $39::text[], $40::text[], $41::int[], $42::text[], $43::uuid[], $44::bigint[], $45::text[],
    $46::bytea[], $47::bytea[]
)"""

APPEND = f"SELECT answers, letters, stops, at_us FROM {_APPEND}"  # noqa: S608 - made of constants

APPEND_WITH = f"""
WITH stored AS MATERIALIZED (SELECT penstock.put_payloads(
    $48::text[], $49::text[], $50::text[],
    $51::text::int[], $52::text::int[], $53::text::int[], $54::text::int[], $55::text::int[], $56::bytea, $57::bytea
))
SELECT (a.answer).answers, (a.answer).letters, (a.answer).stops, (a.answer).at_us
FROM (SELECT {_APPEND} AS answer FROM stored OFFSET 0) AS a"""  # noqa: S608 - made of constants

APPEND_BEGUN = f"""
WITH stored AS MATERIALIZED (SELECT penstock.put_payloads(
    $48::text[], $49::text[], $50::text[],
    $51::text::int[], $52::text::int[], $53::text::int[], $54::text::int[], $55::text::int[], $56::bytea, $57::bytea
)), begun AS MATERIALIZED (SELECT penstock.begin_held(
    $58::uuid, $59::text[], $60::uuid[], $61::text[], $62::text[], $63::text[], $64::int[], $65::bytea[], $66::text[],
    $67::bytea[], $68::bytea[], $69::text[]
) FROM stored)
SELECT (a.answer).answers, (a.answer).letters, (a.answer).stops, (a.answer).at_us
FROM (SELECT {_APPEND} AS answer FROM begun OFFSET 0) AS a"""  # noqa: S608 - made of constants


@cache
def charged(append: str, first: int) -> str:
    """The statement of an append that charges budgets too; its further arguments begin at ``first``."""
    return f"""
WITH made AS MATERIALIZED ({append})
SELECT m.answers, m.letters, m.stops, m.at_us, m.charged FROM (
    SELECT made.*, penstock.charge_budgets(
        made.answers, $1::text[], $2::uuid[], $4::text::int[], $5::text::int[], ${first}::text::int[],
        ${first + 1}::text::bigint[], ${first + 2}::uuid[], ${first + 3}::text::bigint[]
    ) AS charged
    FROM made OFFSET 0
) AS m"""  # noqa: S608 - made of constants


TAPES = """
SELECT k.i, e.seq, e.body, e.hash, penstock.to_us(e.at)
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k(tenant, run_id, i)
CROSS JOIN LATERAL (
    SELECT seq, body, hash, at FROM penstock.events e
    WHERE e.tenant = k.tenant AND e.run_id = k.run_id ORDER BY seq OFFSET 0
) AS e"""

TAPE = """
SELECT seq, body, hash, penstock.to_us(at) FROM penstock.events
WHERE tenant = $1 AND run_id = $2 AND seq > $3 ORDER BY seq LIMIT $4"""

PUT_PAYLOADS = """
SELECT penstock.put_payloads(
    $1::text[], $2::text[], $3::text[],
    $4::text::int[], $5::text::int[], $6::text::int[], $7::text::int[], $8::text::int[], $9::bytea, $10::bytea
)"""

PUT_PAYLOADS_DURABLY = """
WITH flushed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true))
SELECT penstock.put_payloads(
    $1::text[], $2::text[], $3::text[],
    $4::text::int[], $5::text::int[], $6::text::int[], $7::text::int[], $8::text::int[], $9::bytea, $10::bytea
) FROM flushed"""

GET_PAYLOADS = """
SELECT address, data, codec, size FROM penstock.payloads
WHERE tenant = $1 AND subject = $2 AND address = ANY ($3::bytea[])"""

FETCH_PAYLOADS = """
SELECT k.i, p.data, p.codec, p.size
FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS k(tenant, subject, address, i)
CROSS JOIN LATERAL (
    SELECT data, codec, size FROM penstock.payloads q
    WHERE q.tenant = k.tenant AND q.subject = k.subject AND q.address = k.address OFFSET 0
) AS p"""

LETTERS = """
SELECT k.i, x.dedup, x.kind, x.body, penstock.to_us(x.at)
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS k(tenant, run_id, i)
CROSS JOIN LATERAL (
    SELECT dedup, kind, body, at, arrival FROM penstock.inbox x
    WHERE x.tenant = k.tenant AND x.run_id = k.run_id AND NOT x.consumed OFFSET 0
) AS x
ORDER BY k.i, x.arrival"""

DELIVER = "SELECT penstock.deliver($1, $2, $3, $4, $5)"

FLAGS = """
SELECT r.tenant, r.id, r.epoch, r.letters,
       CASE WHEN c.id IS NULL THEN penstock.stronger(r.stop, s.action) ELSE 'kill' END
FROM unnest($2::text[], $3::uuid[]) AS k(tenant, run_id)
CROSS JOIN LATERAL (
    SELECT * FROM penstock.runs r WHERE r.tenant = k.tenant AND r.id = k.run_id OFFSET 0
) AS r
LEFT JOIN LATERAL (
    SELECT c.id FROM penstock.controls c
    WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND (c.tenant IS NULL OR c.tenant = r.tenant) LIMIT 1
) AS c ON true
LEFT JOIN LATERAL penstock.scoped_stop(r.tenant, r.agent, r.release, r.session, r.customer, r.env) AS s
    ON (SELECT penstock.any_scoped())
WHERE r.letters > 0 OR r.stop IS NOT NULL OR c.id IS NOT NULL OR s.id IS NOT NULL OR r.worker IS DISTINCT FROM $1"""

STOP_RUNS = "SELECT id FROM penstock.stop_runs($1, $2::uuid[], $3, $4)"

CHILDREN = """
SELECT r.id FROM penstock.runs r
WHERE r.tenant = $1 AND r.parent = ANY ($2::uuid[])
  AND r.root = (SELECT t.root FROM penstock.runs t WHERE t.tenant = $1 AND t.id = $3)"""

# ``flushed`` makes the commit wait for the disk, whatever the server's default is.
ADD_CONTROL = """
WITH flushed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true))
INSERT INTO penstock.controls (id, tenant, run_id, action, actor, reason, scope, name, lifted_at, lifted_by)
SELECT $1::uuid, $2::text, $3::uuid, $4::text, $5::text, $6::text, $7::text, $8::text,
       CASE WHEN $9::text IS NOT NULL THEN clock_timestamp() END, $9
FROM flushed
ON CONFLICT DO NOTHING"""

SEAL = "SELECT penstock.seal($1)"

NOTE_SEAL = "UPDATE penstock.controls SET sealed_at = penstock.from_us($2), blockers = $3::text[] WHERE id = $1"

# Sessions that hold what a stop waits for: an append under way, or a lock on rows of runs, since before the stop.
BLOCKERS = """
SELECT DISTINCT a.pid, a.application_name, a.state, (extract(epoch FROM clock_timestamp() - a.xact_start))::float8
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND a.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND a.xact_start <= clock_timestamp() - $2 * interval '1 second'
  AND (
      (l.locktype = 'advisory' AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = penstock.append_lock())
      OR ($1 AND l.locktype = 'relation' AND l.relation = 'penstock.runs'::regclass
          AND l.mode <> 'AccessShareLock')
  )
ORDER BY a.pid"""

TERMINATE = "SELECT pg_terminate_backend($1)"

RESUME_RUN = """
WITH flushed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true)), resumed AS (
    UPDATE penstock.runs SET stop = NULL FROM flushed
    WHERE tenant = $1 AND id = $2 AND stop = 'pause' RETURNING tenant, id
), lifted AS (
    UPDATE penstock.controls c SET lifted_at = clock_timestamp(), lifted_by = $3
    FROM resumed r WHERE c.tenant = r.tenant AND c.run_id = r.id AND c.action = 'pause' AND c.lifted_at IS NULL
)
SELECT true FROM resumed"""

# A kill of a tenant or of everything has no run; what else is of a scope has one of zeros: see 0020_controls.sql.
RESUME_SCOPE = """
WITH flushed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true))
UPDATE penstock.controls SET lifted_at = clock_timestamp(), lifted_by = $4 FROM flushed
WHERE id IN (
    SELECT c.id FROM penstock.controls c
    WHERE c.run_id IS NULL AND c.lifted_at IS NULL AND c.tenant IS NOT DISTINCT FROM $1
      AND $2 IN ('tenant', 'everything')
    UNION ALL
    SELECT c.id FROM penstock.controls c
    WHERE c.scope <> '' AND c.lifted_at IS NULL AND coalesce(c.tenant, '') = coalesce($1, '')
      AND c.scope = $2 AND c.name = $3
) AND lifted_at IS NULL
RETURNING id"""

# Those whose waits, JSON with sorted keys, hold one of the marks; in the order of their ids.
WAKE_FOR_TOOL = """
UPDATE penstock.runs r SET status = 'queued', wake_at = clock_timestamp()
FROM (
    SELECT k.tenant, k.id FROM penstock.runs k
    WHERE k.tenant = $1 AND k.status <> 'ended' AND k.status = 'parked' AND k.id > $2
      AND EXISTS (SELECT FROM unnest($3::bytea[]) AS m(mark) WHERE position(m.mark IN k.waiting) > 0)
    ORDER BY k.id LIMIT $4
    FOR NO KEY UPDATE SKIP LOCKED
) AS w
WHERE r.tenant = w.tenant AND r.id = w.id
RETURNING r.id"""

STOPPED = """
SELECT id FROM (
    SELECT id, at, tenant FROM penstock.controls WHERE run_id IS NULL AND lifted_at IS NULL
    UNION ALL
    SELECT id, at, tenant FROM penstock.controls WHERE scope <> '' AND lifted_at IS NULL
) AS wide
WHERE tenant IS NULL OR tenant = $1 ORDER BY at, id"""

OPEN_INTENTS = "SELECT tenant, run_id, path, name, attempt, ends_by FROM penstock.open_intents($1, $2::uuid[])"

# To be completed with the column that a scope names.
HOLDING_INTENTS = """
SELECT r.id FROM penstock.runs r
WHERE r.tenant = $1 AND r.status <> 'ended' AND r.open_intents > 0 AND r.{} = $2"""

RUN_COLUMNS = """
    tenant, id, agent, release, env, status, outcome, code, stop, epoch, last_seq, head, subject, key, session,
    priority, parent, parent_path, root, worker, claims, penstock.to_us(wake_at), penstock.to_us(created_at),
    penstock.to_us(ended_at), deadline, steps, model_calls, tool_calls, tokens, nano, reserved_nano, open_intents,
    waiting, tags::text, penstock.to_us(pruned_at)"""

GET_RUN = f"SELECT {RUN_COLUMNS} FROM penstock.runs WHERE tenant = $1 AND id = $2"  # noqa: S608 - constants

FIND_RUNS = "SELECT id FROM penstock.runs WHERE tenant = $1 AND id BETWEEN $2 AND $3 ORDER BY id LIMIT 10"

# Jumps from tenant to tenant in the index; a DISTINCT would read all of it.
TENANTS = """
WITH RECURSIVE t AS (
    (SELECT tenant FROM penstock.runs ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT r.tenant FROM penstock.runs r WHERE r.tenant > t.tenant ORDER BY r.tenant LIMIT 1)
    FROM t WHERE t.tenant IS NOT NULL
)
SELECT tenant FROM t WHERE tenant IS NOT NULL"""

RELEASE_QUARANTINE = """
UPDATE penstock.runs
SET status = 'queued', wake_at = clock_timestamp(), claims = 0, release = coalesce($3, release)
WHERE tenant = $1 AND id = $2 AND status = 'quarantined'
RETURNING true"""

NOTIFY = "SELECT pg_notify('penstock_work', '')"

NOTIFY_LIVE = "SELECT pg_notify($1, $2)"

HEADS = """
SELECT r.tenant, r.id, r.last_seq
FROM unnest($1::text[], $2::uuid[]) AS wanted(tenant, id)
JOIN penstock.runs r ON r.tenant = wanted.tenant AND r.id = wanted.id"""

"""The bank's effects, each one statement that changes and counts at once, so that the count can never disagree.

Each answers (does the record exist, was anything changed now).
"""

SEND_REPLY = """
WITH known AS (SELECT customer_id FROM customers WHERE customer_id = $1),
done AS (
    INSERT INTO replies (customer_id, body, key) SELECT customer_id, $2, $3 FROM known
    ON CONFLICT (key) DO NOTHING RETURNING customer_id
),
counted AS (
    INSERT INTO counters (customer_id, effect, n) SELECT customer_id, 'reply', 1 FROM done
    ON CONFLICT (customer_id, effect) DO UPDATE SET n = counters.n + 1
)
SELECT EXISTS (SELECT FROM known), EXISTS (SELECT FROM done)
"""

FREEZE_CARD = """
WITH known AS (SELECT customer_id FROM cards WHERE customer_id = $1 AND card_id = $2),
done AS (
    UPDATE cards SET status = 'frozen' WHERE customer_id = $1 AND card_id = $2 AND status <> 'frozen'
    RETURNING customer_id
),
counted AS (
    INSERT INTO counters (customer_id, effect, n) SELECT customer_id, 'freeze', 1 FROM done
    ON CONFLICT (customer_id, effect) DO UPDATE SET n = counters.n + 1
)
SELECT EXISTS (SELECT FROM known), EXISTS (SELECT FROM done)
"""

REFUND = """
WITH known AS (SELECT customer_id, transaction_id FROM transactions WHERE customer_id = $1 AND transaction_id = $2),
done AS (
    INSERT INTO refunds (customer_id, transaction_id, amount_cents, reason, key)
    SELECT customer_id, transaction_id, $3, $4, $5 FROM known
    ON CONFLICT (key) DO NOTHING RETURNING customer_id, amount_cents
),
paid AS (
    UPDATE accounts SET balance_cents = balance_cents + done.amount_cents FROM done
    WHERE accounts.customer_id = done.customer_id
),
counted AS (
    INSERT INTO counters (customer_id, effect, n) SELECT customer_id, 'refund', 1 FROM done
    ON CONFLICT (customer_id, effect) DO UPDATE SET n = counters.n + 1
)
SELECT EXISTS (SELECT FROM known), EXISTS (SELECT FROM done)
"""

CLOSE_ACCOUNT = """
WITH known AS (SELECT customer_id FROM accounts WHERE customer_id = $1),
done AS (
    UPDATE accounts SET status = 'closed' WHERE customer_id = $1 AND status = 'open' RETURNING customer_id
),
counted AS (
    INSERT INTO counters (customer_id, effect, n) SELECT customer_id, 'closure', 1 FROM done
    ON CONFLICT (customer_id, effect) DO UPDATE SET n = counters.n + 1
)
SELECT EXISTS (SELECT FROM known), EXISTS (SELECT FROM done)
"""

LEDGER = """
SELECT c.ticket,
    coalesce((SELECT jsonb_object_agg(effect, n) FROM counters WHERE customer_id = c.customer_id), '{}') AS counts,
    coalesce(
        (SELECT jsonb_agg(jsonb_build_object('transaction', transaction_id, 'cents', amount_cents) ORDER BY refund_id)
        FROM refunds WHERE customer_id = c.customer_id), '[]') AS refunds,
    ARRAY(SELECT card_id FROM cards WHERE customer_id = c.customer_id AND status = 'frozen' ORDER BY 1) AS frozen,
    a.status = 'closed' AS closed
FROM customers c JOIN accounts a USING (customer_id)
WHERE c.world = $1
ORDER BY c.ticket
"""

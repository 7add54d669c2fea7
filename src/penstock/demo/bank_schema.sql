CREATE SCHEMA IF NOT EXISTS penstock_demo_bank;
SET search_path TO penstock_demo_bank;

-- A world is one bank of its own: each mode of a demo works on a fresh one.
CREATE TABLE IF NOT EXISTS customers (
    customer_id text PRIMARY KEY,
    world text NOT NULL,
    ticket int NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS customers_world ON customers (world);
CREATE TABLE IF NOT EXISTS accounts (
    customer_id text PRIMARY KEY REFERENCES customers ON DELETE CASCADE,
    currency text NOT NULL DEFAULT 'EUR',
    balance_cents bigint NOT NULL,
    status text NOT NULL DEFAULT 'open'
);
CREATE TABLE IF NOT EXISTS cards (
    card_id text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
    position int NOT NULL,
    kind text NOT NULL,
    last4 text NOT NULL,
    status text NOT NULL DEFAULT 'active'
);
CREATE INDEX IF NOT EXISTS cards_customer ON cards (customer_id);
CREATE TABLE IF NOT EXISTS transactions (
    transaction_id text PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
    position int NOT NULL,
    day date NOT NULL,
    kind text NOT NULL,
    description text NOT NULL,
    amount_cents bigint NOT NULL,
    status text NOT NULL,
    card_id text,
    dispensed_cents bigint,
    note text NOT NULL
);
CREATE INDEX IF NOT EXISTS transactions_customer ON transactions (customer_id, position);
CREATE TABLE IF NOT EXISTS replies (
    reply_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
    key text NOT NULL UNIQUE,
    body text NOT NULL
);
CREATE INDEX IF NOT EXISTS replies_customer ON replies (customer_id);
CREATE TABLE IF NOT EXISTS refunds (
    refund_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
    key text NOT NULL UNIQUE,
    transaction_id text NOT NULL REFERENCES transactions ON DELETE CASCADE,
    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
    reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS refunds_customer ON refunds (customer_id);
-- Written in the same statement as the effect itself: the bank's own count of what happened to it, which is what the
-- demo's judge believes.
CREATE TABLE IF NOT EXISTS counters (
    customer_id text NOT NULL REFERENCES customers ON DELETE CASCADE,
    effect text NOT NULL,
    n int NOT NULL,
    PRIMARY KEY (customer_id, effect)
);
CREATE TABLE IF NOT EXISTS help_articles (
    slug text PRIMARY KEY,
    title text NOT NULL,
    body text NOT NULL,
    words tsvector NOT NULL
);

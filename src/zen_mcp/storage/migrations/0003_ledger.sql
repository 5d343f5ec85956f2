CREATE TABLE ledger (
    at REAL NOT NULL,
    quarter INTEGER NOT NULL,
    kind TEXT NOT NULL,
    call_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    team TEXT,
    client TEXT,
    thread_id TEXT,
    tool TEXT NOT NULL,
    asked TEXT,
    model TEXT,
    vendor TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cached_tokens INTEGER,
    reasoning_tokens INTEGER,
    saved_tokens INTEGER,
    cost_dollars REAL,
    seconds REAL NOT NULL,
    attempts INTEGER,
    cached INTEGER NOT NULL,
    partial INTEGER NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    variant TEXT
);
CREATE INDEX ledger_by_time ON ledger (at);
CREATE INDEX ledger_by_user ON ledger (user_id, at);
CREATE INDEX ledger_by_call ON ledger (call_id);

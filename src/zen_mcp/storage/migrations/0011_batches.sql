CREATE TABLE batches (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    job TEXT NOT NULL,
    runner TEXT NOT NULL,
    title TEXT NOT NULL,
    model TEXT NOT NULL,
    created_at REAL NOT NULL,
    deadline_seconds REAL,
    asker TEXT NOT NULL,
    vendor TEXT
);
CREATE INDEX batches_by_user ON batches (user_id, created_at);
CREATE INDEX batches_by_job ON batches (job);
CREATE TABLE batch_items (
    batch TEXT NOT NULL,
    line INTEGER NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    result TEXT,
    error TEXT,
    tokens INTEGER,
    dollars REAL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (batch, line)
);
CREATE INDEX batch_items_by_state ON batch_items (batch, state);

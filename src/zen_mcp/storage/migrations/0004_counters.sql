CREATE TABLE counters (
    key TEXT PRIMARY KEY,
    period INTEGER NOT NULL,
    earlier REAL NOT NULL,
    used REAL NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX counters_by_end ON counters (expires_at);

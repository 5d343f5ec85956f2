CREATE TABLE responses (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX responses_by_end ON responses (expires_at);

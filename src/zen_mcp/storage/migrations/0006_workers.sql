CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    seen_at REAL NOT NULL
);

CREATE TABLE tokens (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    team TEXT,
    tools TEXT,
    models TEXT,
    created_at REAL NOT NULL,
    expires_at REAL
);

CREATE TABLE slots (
    ticket TEXT PRIMARY KEY,
    deployment TEXT NOT NULL,
    held INTEGER NOT NULL,
    came_at REAL NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX slots_by_deployment ON slots (deployment, expires_at);
CREATE TABLE slot_locks (
    deployment TEXT PRIMARY KEY
);
CREATE TABLE tuned_models (
    name TEXT PRIMARY KEY,
    base TEXT NOT NULL,
    litellm_model TEXT NOT NULL,
    deployment TEXT NOT NULL,
    added_at REAL NOT NULL
)

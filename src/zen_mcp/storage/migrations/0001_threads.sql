CREATE TABLE threads (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    title TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
);
CREATE INDEX threads_by_user ON threads (user_id, updated_at);

CREATE TABLE turns (
    thread_id TEXT NOT NULL REFERENCES threads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    role TEXT NOT NULL,
    tool TEXT NOT NULL,
    model TEXT,
    vendor TEXT,
    stance TEXT,
    text TEXT NOT NULL,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost_dollars REAL,
    seconds REAL,
    created_at REAL NOT NULL,
    PRIMARY KEY (thread_id, number)
);

CREATE TABLE contents (
    sha256 TEXT PRIMARY KEY,
    text TEXT NOT NULL
);

CREATE TABLE attachments (
    thread_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES contents (sha256),
    PRIMARY KEY (thread_id, number, position),
    FOREIGN KEY (thread_id, number) REFERENCES turns (thread_id, number) ON DELETE CASCADE
);
CREATE INDEX attachments_by_content ON attachments (sha256);

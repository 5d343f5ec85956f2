CREATE TABLE similar_questions (
    key TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    question TEXT NOT NULL,
    vector BLOB NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX similar_questions_by_scope ON similar_questions (scope, expires_at);

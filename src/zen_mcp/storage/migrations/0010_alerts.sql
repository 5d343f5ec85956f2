CREATE TABLE alerts (
    alert TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    value REAL,
    told_at REAL,
    PRIMARY KEY (alert, subject)
);
CREATE TABLE alert_turns (
    name TEXT PRIMARY KEY,
    taken_at REAL NOT NULL
);

"""What is remembered: one SQL code path over SQLite and Postgres, and what replicas share in Redis."""

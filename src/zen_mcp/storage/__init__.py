"""What is remembered: one SQL code path over SQLite."""

"""Finding and checking the tools of others."""

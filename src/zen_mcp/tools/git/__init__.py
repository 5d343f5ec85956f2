"""Reading what changed in a repository."""

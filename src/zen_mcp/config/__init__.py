"""What the user wrote: found, merged, checked once, then read-only. Imports nothing: it is on the start-up path."""

"""Schema changes, numbered, applied once each in order."""

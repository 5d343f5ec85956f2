"""Steps around a call, all of one shape."""

"""Asking several models the same question, and what comes of it."""

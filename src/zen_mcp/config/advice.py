"""What is allowed in the settings and yet not wise; `zen config check` and `zen doctor` say it."""

from __future__ import annotations

from zen_mcp.config.schema import Config


def missing_state_key(config: Config) -> str | None:
    """What is said of settings that are made for several replicas and give them no key in common; else None."""
    server = config.server
    if server.http.state_key or not (server.database_url and server.redis_url):
        return None
    return (
        "database_url and redis_url are set, as for several replicas, and http.state_key is not: a question that a "
        "tool asked the client through one replica cannot be answered through another. "
        "`openssl rand -hex 32` prints a key."
    )

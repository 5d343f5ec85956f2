"""Real parts for tests: a server process, a client, a settings folder."""

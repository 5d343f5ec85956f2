"""Work of minutes to hours: it outlives the call, the client and the server. On DBOS, in SQLite or Postgres."""

"""The store: schema, sessions, queries and migrations. Knows nothing of how a number was computed."""

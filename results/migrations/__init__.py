"""The schema's history, for Alembic. ``HEAD`` is the newest revision, here so that opening a store need not load it."""

HEAD = "harness_0005"

"""The store: layout of a workspace, schema, sessions, queries, statistics and migrations.

Must not know how a number was computed: no torch, and nothing of the harness.
"""

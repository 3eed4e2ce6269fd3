"""The user's words, resolved and checked into a graph of jobs. Nothing runs here.

Must not know where jobs lie or how they are run.
"""

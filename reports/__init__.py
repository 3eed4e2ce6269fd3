"""Tables and figures of what the store holds.

Reads data frames; must not know torch or the harness, and computes no accuracy of its own.
"""

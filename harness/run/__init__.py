"""A graph of jobs to files and store: the scheduler, the workers and what they show of themselves.

``worker`` is the only code that a worker process executes; the scheduler alone writes the store. Must not know the
command line.
"""

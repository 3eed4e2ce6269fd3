"""One training job: the loop that every method shares, its schedules, and the models that come of it.

Knows the Method API and data sets. Must not know which methods there are, how a model is attacked, or where jobs run.
"""

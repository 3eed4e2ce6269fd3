"""One model under one attack: what the attack proposes, and the one verdict on it.

Knows attacks, views and trained models. Must not know whether a number is to be believed (``trust``), what was asked
for (``plan``) or how jobs are run (``run``).
"""

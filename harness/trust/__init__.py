"""Is a number to be believed? ``probes`` measure a model, ``checks`` read the evidence, ``findings`` give the verdict.

``diagnose`` puts them together. Knows evaluations; must not know who asked for them. ``checks``, ``evidence`` and
``findings`` work without torch.
"""

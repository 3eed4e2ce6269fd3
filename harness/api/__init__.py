"""What the author of a plugin imports: registries, and the contracts of methods, models, data sets and attacks.

Also the plain values that everything else speaks in: threats, specs, values typed as text, errors. Imports no other
room of the harness, and must not know how anything is computed or run.
"""

"""How torch computes here, and is given back as it was: modes, precision, randomness, memory, gradients, weights.

Knows threats and nothing else of the benchmark; must not know methods, attacks or jobs.
"""

"""Stand-ins for models that nobody described: differentiable views derived from the forward pass itself.

``trace`` runs a model with other backward passes, ``standins`` are the modules that an attack follows, ``survey`` looks
at a model and ``choice`` says which stand-ins can matter for it; ``attackable`` gives any model a gradient. Knows the
losses that attacks raise; no attack imports it, and it must not know how a model was trained.
"""

"""Models that were not trained here: the call ``harness.evaluate``, RobustBench, and whether this machine is ready."""

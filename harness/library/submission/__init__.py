"""What RobustBench is given of a model that was trained here: weights, source, adversarial images."""

"""A forward pass as it is, with a useful backward pass: interception, and rules for torch functions by name."""

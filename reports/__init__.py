"""Tables and plots of what the store holds. Reads data frames; computes no accuracy of its own."""

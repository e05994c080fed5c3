"""KFP graphs that chain the components: one experiment, or a sweep of named points and the best of them."""

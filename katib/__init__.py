"""A search over the space: the experiment as a Katib Experiment, and the laptop engine that runs one."""

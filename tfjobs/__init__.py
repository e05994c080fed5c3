"""One training over many workers: the experiment as a TFJob, and the laptop engine that runs one."""

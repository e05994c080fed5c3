"""The API of Kubernetes: reached, asked again, understood when it refuses; objects made once and deleted whole."""

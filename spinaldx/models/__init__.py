"""Networks, weight bundles, the model hub and the engines that run networks."""

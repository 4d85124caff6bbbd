"""A small generative adversarial network: two networks with opposed objectives."""

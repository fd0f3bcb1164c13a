"""What each Ingress controller does with its annotations: one module per controller."""

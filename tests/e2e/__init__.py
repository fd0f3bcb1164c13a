"""A real Ray cluster on what we inject and sign (`make e2e`): each pod is a set of Linux namespaces."""

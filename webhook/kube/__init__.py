"""The Kubernetes API: client, informers, adapters."""

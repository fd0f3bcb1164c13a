"""What KubeRay and the API server refuse, or drop without a word, in an object of Ray."""

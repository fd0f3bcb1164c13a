"""What is known of the cluster around an object."""

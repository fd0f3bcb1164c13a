"""The review of manifests: findings with their places, from rules and mutations of admission."""

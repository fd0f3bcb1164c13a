"""Remediations as people read them, and as `review --fix` carries them out."""

"""AdmissionReview in, AdmissionReview out."""

"""Admission: an AdmissionReview request in, the AdmissionReview response out."""

"""Enrollment: a pod's service account token and CSR in, the pod's certificate out."""

"""What RayWarden requires of Ray workloads. Pure: no HTTP, no cluster, no files, no clock."""

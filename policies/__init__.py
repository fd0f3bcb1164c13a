"""What we believe about Ray workloads. Pure: no HTTP, no cluster, no files, no clock."""

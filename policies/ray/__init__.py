"""Ray workloads and pods as typed views over raw objects."""

"""What runs inside the pods: programs of Ray's users, and of intruders."""

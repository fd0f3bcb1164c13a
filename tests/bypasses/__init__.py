"""One test for each way past RayWarden that is known, named after its row in SECURITY.md."""

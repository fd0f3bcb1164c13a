"""`make matrix` runs the tests with every version of Kubernetes and Ray that is installed here.

Each run appends a record to `.matrix/records.jsonl`. `make matrix-publish` takes the newest record
of each combination into `published.json`, from which the documentation is generated.
"""

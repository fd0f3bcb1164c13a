"""Raw JSON and YAML documents: pointers, drafts, untyped access."""

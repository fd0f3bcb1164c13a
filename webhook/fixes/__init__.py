"""Remedies written into the files of their authors, which keep everything else as it is."""

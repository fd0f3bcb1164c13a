"""The formats in which the results of a review are written."""

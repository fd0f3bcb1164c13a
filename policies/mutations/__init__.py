"""Mutations: one default, one file, one id."""

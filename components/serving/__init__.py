"""Answers from the registered model."""

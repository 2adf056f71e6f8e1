"""Annotation to text: templates, parse-back, curation, splits."""

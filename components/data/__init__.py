"""Sources' native files become records: cards, readers, de-identification, ingest."""

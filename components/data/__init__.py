"""Native files to records: cards, catalogue, readers, ingest."""

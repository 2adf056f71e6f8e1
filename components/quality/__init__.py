"""The gate between stages: the only room with Great Expectations."""

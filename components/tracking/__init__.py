"""What came out: commits, digests, manifests, shards, and the only room with MLflow."""

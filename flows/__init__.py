"""When the pipeline runs: the only room with Prefect."""

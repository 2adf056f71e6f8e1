"""The stages: the only room with Lightning."""

"""One published file format a module; readers do not know each other."""

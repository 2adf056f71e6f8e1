"""One published file format a module; each has Options, VERSION and read(root, card, context)."""

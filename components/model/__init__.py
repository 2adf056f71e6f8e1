"""Vision tower, projector, language model, packing."""

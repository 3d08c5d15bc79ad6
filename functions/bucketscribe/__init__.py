"""The package; its map is written last."""

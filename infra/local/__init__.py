"""The laptop cloud."""

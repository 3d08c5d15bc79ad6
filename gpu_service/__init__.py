"""The OCR service: the real one is an image (README.md, Dockerfile), `stand_in` is the laptop's."""

"""The OCR service: the real one is an image (later), `stand_in` is the laptop's."""

"""A CPU server with the OCR service's HTTP API, for laptops and CI."""

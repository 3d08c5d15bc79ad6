"""A stand-in for the OCR service, for laptops and CI: vLLM's HTTP API in front of Tesseract, on the CPU.

It is not LightOnOCR: it reads English, no tables, no formulas, and says so in the name of its model. What
it shares with the real service is the protocol: how it is asked, how it answers, how it refuses. That part
follows recorded answers of vLLM 0.32.

    app        the routes, and whose page is read when
    asked      a request's bytes -> what is asked, or the refusal vLLM would give
    answers    the envelopes: completions, errors, lists of models
    reading    Tesseract: an image -> Markdown
    __main__   python -m gpu_service.stand_in --port N
"""

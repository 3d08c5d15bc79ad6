"""What a page costs without any of this: the script that everybody writes first.

`python -m tests.bench.naive FILE.pdf URL FOLDER`. One page after the other; what goes wrong ends it. Prints
seconds of the processor and of the clock.
"""

# ruff: noqa: T201 - that is how it reports

import base64
import io
import sys
import time
from pathlib import Path

import httpx
import pypdfium2 as pdfium

LONGEST_EDGE_PX = 1540

begun = time.perf_counter(), time.process_time()
document = pdfium.PdfDocument(sys.argv[1])
with httpx.Client(timeout=300, trust_env=False) as client:
    for number, page in enumerate(document, start=1):
        image = page.render(scale=LONGEST_EDGE_PX / max(page.get_size())).to_pil()
        file = io.BytesIO()
        image.save(file, "PNG")
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        asked = {"model": "lightonai/LightOnOCR-2-1B", "messages": [message], "max_tokens": 4096}
        answer = client.post(f"{sys.argv[2]}/v1/chat/completions", json=asked).raise_for_status().json()
        text = answer["choices"][0]["message"]["content"]
        Path(sys.argv[3], f"{number:05d}.md").write_text(text, encoding="utf-8")
print(time.process_time() - begun[1], time.perf_counter() - begun[0])

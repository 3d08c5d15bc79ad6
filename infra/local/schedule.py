"""The laptop's Cloud Scheduler: calls the sweep's door by POST, with nothing to say, every ten minutes.

A refusal or silence is logged and nothing else: the next call is as good.
"""

import asyncio
import logging

import httpx

_EVERY_SECONDS = 600.0
# An HTTP function's life on Google Cloud, as the deploy sets it.
_TIMEOUT = httpx.Timeout(540.0, connect=2.0)

_log = logging.getLogger(__name__)


async def run(door: str, every_seconds: float = _EVERY_SECONDS) -> None:
    """Call until cancelled, for the first time when a whole pause is over: few runs last so long."""
    async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as http:
        while True:
            await asyncio.sleep(every_seconds)
            try:
                answer = await http.post(door)
            except httpx.HTTPError as error:
                _log.warning("the sweep did not answer: %r", error)
            else:
                if not answer.is_success:
                    _log.warning("the sweep answered %s", answer.status_code)

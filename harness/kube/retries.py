"""When an API server is asked again: where that does no harm, and what went wrong ends by itself."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from kubernetes.client import ApiException
from tenacity import (
    retry,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential,
)
from urllib3.exceptions import ProtocolError

from harness.base.waiting import pause

Answer = TypeVar("Answer")


def _passing(failed: BaseException) -> bool:
    """What ends by itself: a webhook without endpoints, a kind just being established, a conflict, a broken line."""
    if isinstance(failed, ApiException):
        unserved = failed.status == HTTPStatus.INTERNAL_SERVER_ERROR and "failed calling webhook" in str(failed.body)
        return unserved or failed.status in (409, 429, 503, 504)
    return isinstance(failed, ProtocolError)


@retry(retry=retry_if_exception_type(ProtocolError), stop=stop_after_attempt(4), reraise=True)
def despite_a_bad_line(call: Callable[[], Answer]) -> Answer:
    """Call, four times at most where the connection breaks."""
    return call()


@retry(
    retry=retry_if_exception(_passing),
    stop=stop_after_delay(20),
    wait=wait_exponential(multiplier=0.1, max=2),
    sleep=pause,
    reraise=True,
)
def patiently(call: Callable[[], Answer]) -> Answer:
    """Call, for 20 s where what goes wrong ends by itself."""
    return call()
